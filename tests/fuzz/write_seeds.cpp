// Writes the first inputs of the fuzz targets that need binary or long ones: write_seeds FOLDER makes
// FOLDER/{safetensors,shards,tokenizer,manifest}/. The configs of the checkout are the seeds of the config target.
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

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
  write(folder / "manifest" / "sound", '\1' + nll::fuzz::sound_manifest_body());
  const std::string_view text =
      "It is the glory of God to conceal a thing: but the honour of kings is to search it out. ";
  write(folder / "tokenizer" / "trained.json", nll::Tokenizer::train({&text, 1}, 280, 1).json());
  return 0;
}
