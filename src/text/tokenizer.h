// Byte-level BPE, as GPT-2 and Hugging Face tokenizers do it: text is split by GPT-2's pattern, each piece is turned
// into bytes, and pairs are merged in the order of the merge list. Any bytes round-trip, valid UTF-8 or not.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nll {

using Progress = std::function<void(std::int64_t done, std::int64_t total)>;  // called now and then; may throw to stop

class Tokenizer {
 public:
  // A tokenizer.json, a folder that has one, or a folder with GPT-2's encoder.json and vocab.bpe (or the same two as
  // Hugging Face names them, vocab.json and merges.txt).
  // Throws Error(bad_data) that names the file and what is wrong with it.
  static Tokenizer load(const std::string& path);
  // Learns a vocabulary of `vocabulary` ids (256 bytes, merges, <|endoftext|> last) from whole texts. The same texts
  // give the same tokenizer at any number of threads. Ties go to the pair with the lower ids, as in Hugging Face's
  // trainer.
  static Tokenizer train(std::span<const std::string_view> texts, std::int64_t vocabulary, int threads,
                         const Progress& progress = {});

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Ids of the text. Special tokens are ordinary text here; text of any bytes is allowed.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // The same on `threads` threads, for long texts: cut where the pattern always splits, so the ids are equal.
  std::vector<std::int32_t> encode(std::string_view text, int threads, const Progress& progress = {}) const;
  // The bytes of the ids; special tokens give nothing unless asked for. Throws Error(bad_data) on an id out of range.
  std::string decode(std::span<const std::int32_t> ids, bool with_special = false) const;

  std::int64_t vocabulary() const;                      // ids are [0, vocabulary)
  std::int32_t end_of_text() const;                     // -1 where the tokenizer has none
  std::string_view token_bytes(std::int32_t id) const;  // empty for special tokens
  bool special(std::int32_t id) const;
  std::uint64_t hash() const;                // xxh3 of vocabulary and merges; in shards and checkpoints
  std::string json() const;                  // Hugging Face's tokenizer.json
  void save(const std::string& path) const;  // json() into a file

 private:
  struct Tables;
  explicit Tokenizer(std::unique_ptr<Tables> tables);
  std::unique_ptr<Tables> tables_;
};

}  // namespace nll
