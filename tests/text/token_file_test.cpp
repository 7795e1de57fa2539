#include <gtest/gtest.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <array>
#include <functional>

#include "src/text/shard_header.h"
#include "src/text/token_files.h"
#include "tests/text/token_shards.h"

namespace nll {
namespace {

TEST(TokenFile, ReadsBackWhatTheWriterStreamed) {
  const TemporaryFolder folder;
  for (const std::int64_t vocabulary : {std::int64_t{65536}, std::int64_t{65537}}) {
    const std::string path = folder / (std::to_string(vocabulary) + ".bin");
    TokenFileWriter writer(path, vocabulary, 5, 0x0123456789abcdef);
    const auto first = counting(1000), second = counting(64536, 1000);
    writer.append(first);
    writer.count_text(40, 30);
    writer.append({});
    writer.append(second);
    writer.count_text(2, 1);
    EXPECT_FALSE(std::filesystem::exists(path));
    writer.finish();
    const TokenFile file(path);
    EXPECT_EQ(file.info().path, path);
    EXPECT_EQ(file.info().format, TokenFormat::own);
    EXPECT_EQ(file.info().tokens, 65536);
    EXPECT_EQ(file.info().vocabulary, vocabulary);
    EXPECT_EQ(file.info().end_of_text, 5);
    EXPECT_EQ(file.info().tokenizer_hash, 0x0123456789abcdefu);
    EXPECT_EQ(file.info().text_bytes, 42);
    EXPECT_EQ(file.info().text_characters, 31);
    EXPECT_EQ(read_tokens(file), counting(65536));
    EXPECT_EQ(std::filesystem::file_size(path), 256u + 65536u * (vocabulary > 65536 ? 4 : 2));
    EXPECT_TRUE(file.verify());
  }
}

TEST(TokenFileWriter, LeavesNothingBehindWhenItIsNotFinished) {
  const TemporaryFolder folder;
  {
    TokenFileWriter writer(folder / "a.bin", 100, -1, 0);
    writer.append(counting(50));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_EQ(error_of([&] { TokenFileWriter(folder / "no/a.bin", 100, -1, 0); }, folder.path()),
            "6: no/a.bin: creating it failed (No such file or directory)");
}

TEST(TokenFile, ReadsTheShardsOfOtherPrograms) {
  const TemporaryFolder folder;
  const auto tokens = counting(600, 50000);
  const TokenFile llmc(write_file(folder / "a", llmc_header(20240520, 1, 600) + token_bytes(tokens, 2)));
  EXPECT_EQ(llmc.info().format, TokenFormat::llmc);
  EXPECT_EQ(read_tokens(llmc), tokens);
  const auto large = counting(600, 128000);
  const TokenFile wide(write_file(folder / "b", llmc_header(20240801, 7, 600) + token_bytes(large, 4)));
  EXPECT_EQ(wide.info().format, TokenFormat::llmc_uint32);
  EXPECT_EQ(read_tokens(wide), large);
  const TokenFile bare(write_file(folder / "c.bin", token_bytes(tokens, 2)));
  EXPECT_EQ(bare.info().format, TokenFormat::nanogpt);
  EXPECT_EQ(read_tokens(bare), tokens);
  EXPECT_FALSE(bare.verify());
  for (const TokenFile* file : {&llmc, &wide, &bare}) {
    EXPECT_EQ(file->info().vocabulary, 0);
    EXPECT_EQ(file->info().end_of_text, -1);
    EXPECT_EQ(file->info().text_bytes, 0);
  }
}

TEST(TokenFile, RefusesWhatIsNoShard) {
  const TemporaryFolder folder;
  const auto open = [&](const std::string& bytes, const std::string& name = "t.bin") {
    write_file(folder / name, bytes);
    return error_of([&] { TokenFile(folder / name); }, folder.path());
  };
  const std::string unknown = " (expected a token shard of nll, llm.c, or a headerless .bin of nanoGPT)";
  EXPECT_EQ(open(""), "4: t.bin: is empty (expected a token shard)");
  EXPECT_EQ(open("abc"), "4: t.bin: 3 bytes (expected an even number: no header, 2 bytes a token)");
  EXPECT_EQ(open("abcd", "t.dat"), "4: t.dat: unknown magic 0x64636261" + unknown);
  EXPECT_EQ(open(llmc_header(20240521, 1, 0)), "4: t.bin: unknown magic 0x0134d889" + unknown);
  EXPECT_EQ(open(llmc_header(20240520, 1, 4).substr(0, 1000)),
            "4: t.bin: 1000 bytes (shorter than its header of 1024)");
  EXPECT_EQ(open(llmc_header(20240520, 2, 0)), "4: t.bin: version 2 (expected 1 after magic 20240520)");
  EXPECT_EQ(open(llmc_header(20240801, 1, 0)), "4: t.bin: version 1 (expected 7 after magic 20240801)");
  EXPECT_EQ(open(llmc_header(20240520, 1, -1)),
            "4: t.bin: a count of -1 tokens (this format cannot count beyond 2147483647)");
  EXPECT_EQ(open(llmc_header(20240520, 1, 5) + "12345678"),
            "4: t.bin: 1032 bytes, but its header counts 5 tokens (expected 1034 bytes)");
  EXPECT_EQ(open(llmc_header(20240520, 1, 4) + "123456789"),
            "4: t.bin: 1033 bytes, but its header counts 4 tokens (expected 1032 bytes)");
  EXPECT_EQ(open(llmc_header(20240801, 7, 4) + "12345678"),
            "4: t.bin: 1032 bytes, but its header counts 4 tokens (expected 1040 bytes)");
  const auto swapped = [](std::uint32_t magic) { return __builtin_bswap32(magic); };
  EXPECT_EQ(open(llmc_header(swapped(20240520), swapped(1), 0)),
            "4: t.bin: big-endian magic 20240520 (expected little-endian; the file must be converted)");
  EXPECT_EQ(open(llmc_header(20240522, 1, 0)), "4: t.bin: is an llm.c evaluation file (expected a token shard)");
  EXPECT_EQ(open(llmc_header(20240326, 3, 0)), "4: t.bin: is an llm.c model (expected a token shard)");
  EXPECT_EQ(open("BIN.TOK\n" + std::string(1016, '*')), "4: t.bin: is a BIN.TOK file (expected a token shard)");
  EXPECT_EQ(open(std::string("MMIDIDX\0\0", 9)), "4: t.bin: is a Megatron index (expected a token shard)");
  const auto path_error = [&](const std::string& name) {
    return error_of([&] { TokenFile(folder / name); }, folder.path());
  };
  EXPECT_EQ(path_error("none"), "4: none: cannot be opened (No such file or directory)");
  std::filesystem::create_directory(folder / "d");
  EXPECT_EQ(path_error("d"), "4: d: is a folder (expected a regular file)");
  ASSERT_EQ(::mkfifo((folder / "p").c_str(), 0600), 0);
  EXPECT_EQ(path_error("p"), "4: p: is a pipe (expected a regular file)");
  EXPECT_EQ(error_of([] { TokenFile("/dev/zero"); }), "4: /dev/zero: is a device (expected a regular file)");
}

TEST(TokenFile, NoticesEveryDamageToItsHeader) {
  const TemporaryFolder folder;
  const std::string path = write_shard(folder / "t.bin", counting(100), 500);
  const std::string good = read_file(path);
  const auto notices = [&](const std::string& bad) { return error_of([&] { TokenFile{write_file(path, bad)}; }); };
  for (std::size_t bit = 0; bit < 8 * 8; ++bit) {  // of the magic
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ 1 << bit % 8);
    EXPECT_NE(notices(bad), "no error") << "bit " << bit;
  }
  for (std::size_t size = 0; size < good.size(); size += size < 16 ? 1 : 11) {
    EXPECT_NE(notices(good.substr(0, size)), "no error") << size << " bytes";
  }
  for (std::size_t bit = 8 * 8; bit < 256 * 8; ++bit) {  // of the rest, without the file
    std::array<std::uint8_t, shard_header_bytes> header;
    std::copy_n(good.begin(), header.size(), header.begin());
    header[bit / 8] = static_cast<std::uint8_t>(header[bit / 8] ^ 1 << bit % 8);
    EXPECT_NE(error_of([&] { read_shard_header(header, path); }), "no error") << "bit " << bit;
  }
  std::string bad = good;
  bad[300] = 1;
  write_file(path, bad);
  EXPECT_EQ(error_of([&] { TokenFile(path).verify(); }, folder.path()),
            "4: t.bin: the tokens do not have the hash that its header gives (the file is damaged)");
}

TEST(TokenFile, SaysWhatIsWrongWithItsOwnHeader) {
  const TemporaryFolder folder;
  const std::string path = write_shard(folder / "t.bin", counting(100), 500);
  const std::string good = read_file(path);
  const auto with = [&](std::size_t at, int bytes, std::uint64_t value) {
    std::string bad = good;
    bad.replace(at, static_cast<std::size_t>(bytes), little_endian(value, bytes));
    bad.replace(248, 8, little_endian(XXH3_64bits(bad.data(), 248), 8));
    write_file(path, bad);
    return error_of([&] { TokenFile{path}; }, folder.path());
  };
  EXPECT_EQ(with(8, 4, 1), "no error");
  EXPECT_EQ(with(8, 4, 2), "4: t.bin: shard version 2 (this program reads version 1)");
  EXPECT_EQ(with(12, 4, 512), "4: t.bin: a header of 512 bytes (expected 256)");
  EXPECT_EQ(with(16, 8, 99), "4: t.bin: 456 bytes, but its header counts 99 tokens (expected 454 bytes)");
  EXPECT_EQ(with(16, 8, ~std::uint64_t{0}), "4: t.bin: a count of -1 tokens");
  EXPECT_EQ(with(24, 4, 3), "4: t.bin: 3 bytes a token (expected 2 or 4)");
  EXPECT_EQ(with(28, 4, 500), "4: t.bin: end-of-text id 500 (expected -1 to 499)");
  EXPECT_EQ(with(32, 8, 0), "4: t.bin: a vocabulary of 0 in 2 bytes a token (expected 1 to 65536)");
  EXPECT_EQ(with(32, 8, 65537), "4: t.bin: a vocabulary of 65537 in 2 bytes a token (expected 1 to 65536)");
  EXPECT_EQ(with(56, 8, 1), "4: t.bin: 1 characters in 0 bytes of text");
  write_file(path, good.substr(0, 200));
  EXPECT_EQ(error_of([&] { TokenFile{path}; }, folder.path()), "4: t.bin: 200 bytes (shorter than its header of 256)");
  std::string bad = good;
  bad[100] = 1;
  write_file(path, bad);
  EXPECT_EQ(error_of([&] { TokenFile{path}; }, folder.path()),
            "4: t.bin: the header's checksum is wrong (the file is damaged)");
}

TEST(TokenFile, NamesTheTokenThatIsNotInTheVocabulary) {
  const TemporaryFolder folder;
  const auto read = [&](const TokenFile& file, std::int64_t begin, std::size_t count) {
    return error_of(
        [&] {
          std::vector<std::int32_t> out(count);
          file.read(begin, out, 1000);
        },
        folder.path());
  };
  const TokenFile narrow(write_file(folder / "a", llmc_header(20240520, 1, 600) + token_bytes(counting(600, 500), 2)));
  EXPECT_EQ(read(narrow, 100, 400), "no error");
  EXPECT_EQ(read(narrow, 100, 401), "4: a: token 1000 at position 500 (byte 2024) is not in the vocabulary of 1000");
  const TokenFile wide(write_file(folder / "b", llmc_header(20240801, 7, 2) + token_bytes({1, -1}, 4)));
  EXPECT_EQ(read(wide, 0, 2), "4: b: token 4294967295 at position 1 (byte 1028) is not in the vocabulary of 1000");
}

TEST(TokenFile, ThatShrinksIsAnErrorAndNoSignal) {
  const TemporaryFolder folder;
  const TokenFile file(write_shard(folder / "t.bin", counting(1000), 1000));
  std::filesystem::resize_file(folder / "t.bin", 256 + 2 * 500 + 1);
  std::vector<std::int32_t> out(500);
  file.read(0, out, 1000);
  EXPECT_EQ(out, counting(500));
  EXPECT_EQ(error_of([&] { file.read(1, out, 1000); }, folder.path()),
            "4: t.bin: ends at byte 1257 (it had 2256 bytes when it was opened: it shrank while being read)");
}

TEST(TokenFile, ReadsBeyondFourGigabytes) {
  const TemporaryFolder folder;
  // A sparse file: 2^31 - 1 tokens of llm.c, and nanoGPT's with 3 * 2^30; only the last tokens are not 0.
  const std::string llmc = write_file(folder / "a.bin", llmc_header(20240520, 1, 2147483647));
  const std::string bare = write_file(folder / "b.bin", std::string(2000, '\1'));
  std::error_code error;
  std::filesystem::resize_file(llmc, 1024 + 2 * std::uintmax_t{2147483647}, error);
  if (!error) std::filesystem::resize_file(bare, std::uintmax_t{6} << 30, error);
  if (error) GTEST_SKIP() << "this file system has no sparse files: " << error.message();
  for (const std::string& path : {llmc, bare}) {
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(-4, std::ios::end);
      file << token_bytes({11, 12}, 2);
    }
    const TokenFile file(path);
    std::vector<std::int32_t> out(3);
    file.read(file.info().tokens - 3, out, 100);
    EXPECT_EQ(out, std::vector<std::int32_t>({0, 11, 12}));
    std::vector<std::int32_t> window(5);
    const TokenDataset dataset({path}, 4, 50000);
    EXPECT_EQ(dataset.windows(), (file.info().tokens - 1) / 4 - 1);
    dataset.window(1, 0, dataset.windows() - 1, window);
  }
  EXPECT_EQ(TokenFile(bare).info().tokens, std::int64_t{3} << 30);
}

TEST(TokenFile, FingerprintFollowsNameSizeAndContent) {
  const TemporaryFolder folder;
  const std::uint64_t one = TokenFile(write_shard(folder / "a.bin", counting(9000), 9000)).fingerprint();
  EXPECT_EQ(TokenFile(folder / "a.bin").fingerprint(), one);
  std::filesystem::create_directory(folder / "other");
  std::filesystem::copy(folder / "a.bin", folder / "other/a.bin");
  EXPECT_EQ(TokenFile(folder / "other/a.bin").fingerprint(), one);  // a moved folder is the same data
  std::filesystem::copy(folder / "a.bin", folder / "b.bin");
  EXPECT_NE(TokenFile(folder / "b.bin").fingerprint(), one);
  auto tokens = counting(9000);
  tokens.back() = 0;
  EXPECT_NE(TokenFile(write_shard(folder / "a.bin", tokens, 9000)).fingerprint(), one);
}

}  // namespace
}  // namespace nll
