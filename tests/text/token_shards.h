// Token files of every format, made byte by byte as their programs write them.
#pragma once
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "src/text/token_files.h"
#include "tests/text/temporary_folder.h"

namespace nll {

inline std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

// 256 int32: magic, version, count, zeros.
inline std::string llmc_header(std::uint32_t magic, std::uint32_t version, std::int64_t count) {
  std::string header =
      little_endian(magic, 4) + little_endian(version, 4) + little_endian(static_cast<std::uint64_t>(count), 4);
  header.resize(1024, '\0');
  return header;
}

inline std::string token_bytes(const std::vector<std::int32_t>& tokens, int bytes) {
  std::string text;
  for (const std::int32_t token : tokens) text += little_endian(static_cast<std::uint32_t>(token), bytes);
  return text;
}

inline std::vector<std::int32_t> counting(std::int64_t count, std::int32_t first = 0) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

inline std::string write_shard(const std::string& path, const std::vector<std::int32_t>& tokens,
                               std::int64_t vocabulary) {
  TokenFileWriter writer(path, vocabulary, -1, 7);
  writer.append(tokens);
  writer.finish();
  return path;
}

inline std::vector<std::int32_t> read_tokens(const TokenFile& file, std::int64_t vocabulary = 1 << 30) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(file.info().tokens));
  file.read(0, tokens, vocabulary);
  return tokens;
}

}  // namespace nll
