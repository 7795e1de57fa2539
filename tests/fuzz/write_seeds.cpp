// Writes the first inputs of the fuzz targets that need binary or long ones: write_seeds FOLDER makes
// FOLDER/{safetensors,shards,tokenizer,manifest,records,rendezvous}/. The configs of the checkout are the seeds of the
// config target.
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "src/dist/rendezvous_hello.h"
#include "src/text/record_cache_bytes.h"
#include "src/text/token_files.h"
#include "src/text/tokenizer.h"
#include "tests/fuzz/sound_checkpoint.h"

namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(content.data(), static_cast<std::streamsize>(content.size()));
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// A shard as llm.c writes it: 256 words, then the tokens.
template <class T>
std::string llmc_shard(std::int32_t magic, std::int32_t version, const std::vector<T>& tokens) {
  std::string bytes;
  for (std::int32_t word : {magic, version, static_cast<std::int32_t>(tokens.size())}) append(bytes, word);
  bytes.resize(1024, '\0');
  for (T token : tokens) append(bytes, token);
  return bytes;
}

void write_shards(const fs::path& folder) {
  const std::vector<std::uint16_t> narrow = {50256, 1, 2, 3, 500, 50000};
  const std::vector<std::uint32_t> wide = {50256, 1, 2, 3, 500, 50000};
  // The first byte is the target's: even for a shard with a header, odd for nanoGPT's headerless form.
  write(folder / "llmc", '\0' + llmc_shard(20240520, 1, narrow));
  write(folder / "uint32", '\0' + llmc_shard(20240801, 7, wide));
  write(folder / "nanogpt", '\1' + llmc_shard(0, 0, narrow).substr(1024));
  const fs::path own = folder / "own.bin";
  nll::TokenFileWriter writer(own.string(), 50257, 50256, 0x1234567890abcdefull);
  writer.append(std::vector<std::int32_t>{50256, 1, 2, 3, 500, 50000});
  writer.count_text(24, 20);
  writer.finish();
  write(folder / "own", '\0' + read(own));
  fs::remove(own);
}

void write_safetensors(const fs::path& folder) {
  std::vector<float> values(6);
  const nll::Tensor tensor(values.data(), nll::DType::f32, {2, 3});
  std::string input;
  append(input, std::uint64_t{48} << 8);  // two tensors of 24 bytes follow the header
  input += nll::make_safetensors_header({{"wte.weight", tensor}, {"wpe.weight", tensor}}, {{"format", "pt"}});
  write(folder / "two_tensors", input);
  // Every type, those that nll knows and does not read too.
  std::string types;
  int end = 0;
  for (const auto& [name, bytes] :
       {std::pair{"F64", 8}, {"I64", 8}, {"I16", 2}, {"I8", 1}, {"BOOL", 1}, {"U64", 8}, {"U32", 4}, {"U16", 2}}) {
    types += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[3],"data_offsets":[{},{}]}})", end == 0 ? "{" : ",", name,
                         name, end, end + 3 * bytes);
    end += 3 * bytes;
  }
  input.clear();
  append(input, static_cast<std::uint64_t>(end) << 8);
  write(folder / "all_types", input + types + "}");
}

// The first byte is the target's: 2 * (ranks - 1), and 1 more for a verdict.
void write_rendezvous(const fs::path& folder) {
  constexpr int ranks = 2, hello = 2 * (ranks - 1), verdict = hello + 1;
  const auto seed = [&](const char* name, int choice, const std::string& message) {
    write(folder / name, std::string(1, static_cast<char>(choice)) + message);
  };
  seed("hello", hello, nll::make_hello({nll::job_number("job", ranks), {1, ranks, 0, 1, "node1"}}));
  seed("another_job", hello, nll::make_hello({nll::job_number("other", ranks), {1, ranks, 1, 2, "node0"}}));
  seed("http", hello, "GET / HTTP/1.1\r\n");
  seed("welcome", verdict, nll::make_verdict({0, "", 0x1234567890abcdefull, {"node0", "node1"}}));
  seed("refusal", verdict, nll::make_verdict({static_cast<int>(nll::Exit::usage), "rank 1 of another job", 0, {}}));
}

// The first byte is the target's: the number of a kind in steps of 5, with 0x10 a file; or 0x80 for a cache's record.
void write_records(const fs::path& folder) {
  const auto seed = [&](const char* name, int choice, const std::string& text) {
    write(folder / name, std::string(1, static_cast<char>(choice)) + text);
  };
  const std::string user = R"([{"role": "system", "content": "s"}, {"role": "user", "content": "the question"}])";
  const std::string yes = R"([{"role": "assistant", "content": "the answer"}, {"role": "tool", "content": "t"}])";
  const std::string pair = R"({"prompt": "ask", "completion": " answer<|endoftext|>", "label": false})";
  seed("supervised", 0x10 + 4, "{\"text\": \"the users\"}\r\n" + pair + "\n\n{\"messages\": " + yes + "}\n");
  seed("preference", 0x10,
       "{\"prompt\": " + user + ", \"chosen\": " + yes + ", \"rejected\": " + yes + ", \"margin\": 0.5}\n" +
           R"({"chosen": "the answer", "rejected": "the others"})");
  seed("unpaired", 2, pair);
  seed("chat", 0x20 + 3, "{\"messages\": " + yes + "}");
  seed("prompt_only", 3, "{\"prompt\": " + user + ", \"answer\": [42, null, {\"a\": 1e3}]}");
  seed("contrastive", 4, R"({"prompt": "ask", "positive": "that", "negatives": ["this", "other"]})");
  nll::EncodedRecord record;
  record.sequences = {{{1, 2, 3, 4, 5}, 2, {{2, 3}, {4, 5}}, true}, {{1, 2, 6}, 2, {{2, 3}}, false}};
  record.columns = "{}";
  seed("cached", 0x80, nll::pack_record(record, 0, 7).substr(8));
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: write_seeds FOLDER\n";
    return 2;
  }
  const fs::path folder = arguments[1];
  fs::remove_all(folder);
  fs::create_directories(folder / "shards");
  write_shards(folder / "shards");
  write_safetensors(folder / "safetensors");
  write_rendezvous(folder / "rendezvous");
  write_records(folder / "records");
  write(folder / "manifest" / "sound", '\1' + nll::fuzz::sound_manifest_body());
  const std::string_view text =
      "It is the glory of God to conceal a thing: but the honour of kings is to search it out. ";
  write(folder / "tokenizer" / "trained.json", nll::Tokenizer::train({&text, 1}, 280, 1).json());
  return 0;
}
