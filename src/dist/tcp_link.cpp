#include "src/dist/tcp_link.h"

#include <cstring>
#include <type_traits>

#include "kernels/check.h"

namespace nll {

static_assert(std::is_trivially_copyable_v<FrameHead>);

void Link::send(const FrameHead& head, const std::vector<std::span<const std::uint8_t>>& pieces) {
  Piece first;
  first.own.resize(sizeof head);
  FrameHead stamped = head;
  stamped.run = run_;
  std::memcpy(first.own.data(), &stamped, sizeof stamped);
  out_.push_back(std::move(first));
  std::int64_t bytes = 0;
  for (const auto& piece : pieces) {
    bytes += static_cast<std::int64_t>(piece.size());
    if (!piece.empty()) out_.push_back({{}, piece});
  }
  CHECK(bytes == head.what.bytes);
}

void Link::send_failure(const std::string& text) {
  FrameHead head;
  head.kind = FrameKind::failure;
  head.what.bytes = static_cast<std::int64_t>(text.size());
  send(head, {{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}});
  if (text.empty()) return;
  // The text's own memory may be gone before it is sent.
  Piece& piece = out_.back();
  piece.own.assign(piece.lent.begin(), piece.lent.end());
}

void Link::receive_into(std::span<std::uint8_t> target) {
  CHECK(head_.has_value());
  CHECK(static_cast<std::int64_t>(target.size()) == head_->what.bytes);
  target_ = target;
  target_set_ = true;
  received_ = 0;
}

void Link::next() {
  CHECK(complete());
  head_.reset();
  head_received_ = 0;
  target_ = {};
  target_set_ = false;
  received_ = 0;
}

pollfd Link::watch() const {
  const int events = (receiving() ? POLLIN : 0) | (sending() ? POLLOUT : 0);
  // A negative descriptor is passed over: a link that waits for nothing would report a hang-up without end.
  return {events == 0 ? -1 : socket_.descriptor(), static_cast<short>(events), 0};
}

void Link::move() {
  send_some();
  receive_some();
}

void Link::send_some() {
  while (sending()) {
    const auto rest = out_.front().bytes().subspan(sent_);
    std::size_t count = 0;
    const auto outcome = socket_.send(rest, count, fault_);
    broken_ = outcome == Socket::Outcome::closed;
    if (outcome != Socket::Outcome::some) return;
    sent_ += count;
    if (sent_ == out_.front().bytes().size()) {
      out_.pop_front();
      sent_ = 0;
    }
  }
}

void Link::receive_some() {
  while (receiving()) {
    const std::span<std::uint8_t> rest =
        head_ ? target_.subspan(received_) : std::span<std::uint8_t>(head_bytes_).subspan(head_received_);
    std::size_t count = 0;
    std::string fault;
    const auto outcome = socket_.receive(rest, count, fault);
    if (outcome == Socket::Outcome::nothing_now) return;
    if (outcome == Socket::Outcome::closed) return close(fault);
    if (head_) {
      received_ += count;
      continue;
    }
    head_received_ += count;
    if (head_received_ < head_bytes_.size()) continue;
    FrameHead head;
    std::memcpy(&head, head_bytes_.data(), sizeof head);
    if (head.magic != FrameHead::first_bytes || head.run != run_ || head.what.bytes < 0) {
      return close("got something that is no message of this run");
    }
    head_ = head;
  }
}

void Link::close(const std::string& fault) {
  closed_ = broken_ = true;
  fault_ = fault;
}

bool Link::flush(const Deadline& deadline) {
  send_some();
  while (sending() && !deadline.over()) {
    std::vector<pollfd> one{{socket_.descriptor(), POLLOUT, 0}};
    poll_sockets(one, deadline.milliseconds());
    send_some();
  }
  return out_.empty();
}

}  // namespace nll
