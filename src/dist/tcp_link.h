// Link: frames on one connection, a piece at a time and without waiting, so that one thread can serve many.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/dist/announcement.h"
#include "src/dist/tcp_socket.h"

namespace nll {

enum class FrameKind : std::uint32_t {
  operation = 1,  // a rank's bytes for rank 0, or rank 0's answer
  patience,       // rank 0 has come to the operation and waits for others
  failure         // the job is over: a text says why
};

// Plain data, the same layout on all ranks; `what.bytes` bytes follow.
struct FrameHead {
  static constexpr std::uint32_t first_bytes = 0x4d464c4e;
  std::uint32_t magic = first_bytes;
  FrameKind kind = FrameKind::operation;
  std::uint64_t run = 0;     // of the rendezvous
  std::uint64_t number = 0;  // of the operation, from 1
  Announcement what;
};

class Link {
 public:
  Link(Socket socket, std::uint64_t run) : socket_(std::move(socket)), run_(run) {}

  bool closed() const { return closed_; }  // nothing comes any more
  const std::string& fault() const { return fault_; }

  // Queues a frame. The memory of `pieces`, which are what.bytes together, stays as it is while sending().
  void send(const FrameHead& head, const std::vector<std::span<const std::uint8_t>>& pieces);
  void send_failure(const std::string& text);
  bool sending() const { return !out_.empty() && !broken_; }
  bool broken() const { return broken_; }  // nothing can be sent any more; something may still come

  // The head of the frame that is arriving, when all of it is there.
  const std::optional<FrameHead>& head() const { return head_; }
  // Where the bytes after the head go; as many as it says.
  void receive_into(std::span<std::uint8_t> target);
  // The frame is complete; next() makes room for the one after it.
  bool complete() const { return head_ && target_set_ && received_ == target_.size(); }
  void next();
  // Whether bytes can be taken now.
  bool receiving() const { return !closed_ && (!head_ || (target_set_ && received_ < target_.size())); }

  // For poll(): what this link waits for. Then both directions as far as they go.
  pollfd watch() const;
  void move();
  // Sends what is queued, at most so long. True: all is sent.
  bool flush(const Deadline& deadline);

 private:
  struct Piece {
    std::vector<std::uint8_t> own;  // or
    std::span<const std::uint8_t> lent;
    std::span<const std::uint8_t> bytes() const { return own.empty() ? lent : std::span<const std::uint8_t>(own); }
  };
  void send_some();
  void receive_some();
  void close(const std::string& fault);

  Socket socket_;
  std::uint64_t run_ = 0;
  std::deque<Piece> out_;
  std::size_t sent_ = 0;  // of out_.front()
  std::array<std::uint8_t, sizeof(FrameHead)> head_bytes_;
  std::size_t head_received_ = 0;
  std::optional<FrameHead> head_;
  std::span<std::uint8_t> target_;
  bool target_set_ = false;
  std::size_t received_ = 0;
  bool closed_ = false, broken_ = false;
  std::string fault_;
};

}  // namespace nll
