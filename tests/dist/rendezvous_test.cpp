#include "src/dist/rendezvous.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <future>
#include <numeric>

#include "src/dist/rendezvous_hello.h"
#include "tests/dist/tcp_job.h"

namespace nll {
namespace {

using test::tcp_launch;

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

const Hello sound{job_number("job", 4), {2, 4, 1, 2, "node1"}};

TEST(RendezvousHello, ReadsBackWhatWasWritten) {
  const auto read = read_hello(bytes_of(make_hello(sound)));
  ASSERT_EQ(read.state, MessageState::complete) << read.reason;
  EXPECT_EQ(read.message.job, sound.job);
  EXPECT_EQ(read.message.world.rank, 2);
  EXPECT_EQ(read.message.world.size, 4);
  EXPECT_EQ(read.message.world.local_rank, 1);
  EXPECT_EQ(read.message.world.local_size, 2);
  EXPECT_EQ(read.message.world.host, "node1");
}

TEST(RendezvousHello, IsIncompleteAtEveryCut) {
  const std::string bytes = make_hello(sound);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_EQ(read_hello(bytes_of(bytes).first(length)).state, MessageState::incomplete) << length;
  }
}

TEST(RendezvousHello, EveryWrongByteOfItsFrameIsRefusedOrIncomplete) {
  const std::string bytes = make_hello(sound);
  for (std::size_t at = 0; at < 16; ++at) {
    std::string wrong = bytes;
    wrong[at] = static_cast<char>(wrong[at] ^ 0x10);
    EXPECT_NE(read_hello(bytes_of(wrong)).state, MessageState::complete) << at;
  }
}

std::string reason_for(const std::string& bytes) {
  const auto read = read_hello(bytes_of(bytes));
  return read.state == MessageState::refused ? read.reason : "not refused";
}

TEST(RendezvousHello, RefusesWithAReason) {
  const std::string bytes = make_hello(sound);
  EXPECT_EQ(reason_for("GET / HTTP/1.1\r\n\r\n"), "HTTP, not a message of nll");
  EXPECT_EQ(reason_for("x"), "not a message of nll");
  EXPECT_EQ(reason_for(bytes + "x"), "more bytes than its message has");
  std::string other = bytes;
  other[8] = 9;
  EXPECT_EQ(reason_for(other), "version 9 of the rendezvous (expected 1: the same build of nll on all hosts)");
  other = bytes;
  other[14] = 1;
  EXPECT_EQ(reason_for(other), "a message of 65567 bytes");
  other = bytes;
  other[40] = 4;  // the host's name is one shorter than what follows
  EXPECT_EQ(reason_for(other), "a hello whose lengths do not fit together");
  Hello hello = sound;
  hello.world.rank = 4;
  EXPECT_EQ(reason_for(make_hello(hello)), "rank 4 of 4");
  hello.world.rank = -1;
  EXPECT_EQ(reason_for(make_hello(hello)), "rank -1 of 4");
  hello = sound;
  hello.world.local_rank = 2;
  EXPECT_EQ(reason_for(make_hello(hello)), "local rank 2 of 2 in a world of 4");
  hello = sound;
  hello.world.host = "two\nlines";
  EXPECT_EQ(reason_for(make_hello(hello)), "an unprintable host name");
}

TEST(RendezvousHello, OtherJobsAndSizesAreUnfit) {
  Hello own = sound;
  own.world.rank = 0;
  EXPECT_EQ(unfit(sound, own), "");
  Hello other = sound;
  other.job = job_number("yesterday's job", 4);
  EXPECT_EQ(unfit(other, own), "rank 2 of another job");
  other = sound;
  other.world.size = 3;
  EXPECT_EQ(unfit(other, own), "rank 2 of 3 processes (expected 4)");
  other = sound;
  other.world.rank = 0;
  EXPECT_EQ(unfit(other, own), "a second rank 0");
}

TEST(RendezvousVerdict, ReadsBackAndIsIncompleteAtEveryCut) {
  for (const Verdict& verdict : {Verdict{0, "", 77, {"a", "", "node2"}}, Verdict{2, "a second rank 1", 0, {}}}) {
    const std::string bytes = make_verdict(verdict);
    const auto read = read_verdict(bytes_of(bytes), 3);
    ASSERT_EQ(read.state, MessageState::complete) << read.reason;
    EXPECT_EQ(read.message.exit, verdict.exit);
    EXPECT_EQ(read.message.reason, verdict.reason);
    EXPECT_EQ(read.message.run, verdict.run);
    EXPECT_EQ(read.message.hosts, verdict.hosts);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_EQ(read_verdict(bytes_of(bytes).first(length), 3).state, MessageState::incomplete) << length;
    }
  }
}

TEST(RendezvousVerdict, OfAnotherSizeIsRefused) {
  const std::string bytes = make_verdict({0, "", 77, {"a", "b"}});
  EXPECT_EQ(read_verdict(bytes_of(bytes), 3).state, MessageState::refused);
}

// ---- through a port ------------------------------------------------------------------------------------------------

Socket dial(int port) {
  std::string fault;
  const Deadline deadline(20);
  for (const Address& address : find_addresses("127.0.0.1", port, deadline, fault)) {
    Socket socket = connect_to(address, deadline, fault);
    if (socket.is_open()) return socket;
  }
  throw Error(Exit::io, "dial: " + fault);
}

void say(const Socket& socket, const std::string& bytes) {
  std::size_t count = 0;
  std::string fault;
  ASSERT_EQ(socket.send(bytes_of(bytes), count, fault), Socket::Outcome::some) << fault;
  ASSERT_EQ(count, bytes.size());
}

// All that comes until the other side closes.
std::string hear(const Socket& socket) {
  const Deadline deadline(20);
  std::string all;
  while (!deadline.over()) {
    std::uint8_t buffer[1024];
    std::size_t count = 0;
    std::string fault;
    const auto outcome = socket.receive(buffer, count, fault);
    if (outcome == Socket::Outcome::closed) return all;
    all.append(reinterpret_cast<const char*>(buffer), count);
    std::vector<pollfd> one{{socket.descriptor(), POLLIN, 0}};
    if (count == 0) poll_sockets(one, deadline.milliseconds());
  }
  ADD_FAILURE() << "the connection stays open";
  return all;
}

std::string refusal_of(const Socket& socket) {
  const std::string bytes = hear(socket);
  const auto read = read_verdict(bytes_of(bytes), 3);
  return read.state == MessageState::complete && read.message.exit == 2 ? read.message.reason : "no refusal";
}

// Rank 0 of three that waits in a thread of its own.
struct Reception {
  Listener listener{0};
  std::future<Meeting> meeting;
  explicit Reception(double limit = 60, const std::string& job = "job")
      : meeting(std::async(std::launch::async, [this, limit, job] {
          return receive_ranks(listener, tcp_launch(0, 3, listener.port(), job), limit);
        })) {}
  std::future<Meeting> join(int rank, const std::string& job = "job", const char* address = "127.0.0.1") {
    const Launch launch = tcp_launch(rank, 3, listener.port(), job, address);
    return std::async(std::launch::async, [launch] { return join_rank_0(launch, 60); });
  }
};

template <class Work>
std::string error_of(const Work& work, Exit exit) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), exit) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  return "no error";
}

TEST(Rendezvous, AllRanksLearnTheRunAndTheHosts) {
  for (const char* job : {"job", ""}) {
    Reception zero(60, job);
    auto one = zero.join(1, job), two = zero.join(2, job, "localhost");
    const Meeting meeting = zero.meeting.get(), first = one.get(), second = two.get();
    EXPECT_EQ(first.run, meeting.run);
    EXPECT_EQ(second.run, meeting.run);
    EXPECT_EQ(first.hosts, meeting.hosts);
    ASSERT_EQ(meeting.hosts.size(), 3u);
    EXPECT_EQ(meeting.hosts[2], second.world.host);
    EXPECT_EQ(meeting.connections.size(), 3u);
    EXPECT_TRUE(meeting.refusals.empty());
  }
}

TEST(Rendezvous, OneProcessMeetsNobody) {
  const Listener listener(0);
  EXPECT_EQ(receive_ranks(listener, tcp_launch(0, 1, listener.port()), 0).hosts.size(), 1u);
}

TEST(Rendezvous, TheOthersMayComeFirst) {
  int port = 0;
  {
    const Listener listener(0);
    port = listener.port();
  }
  auto early = std::async(std::launch::async, [port] { return join_rank_0(tcp_launch(1, 2, port), 60); });
  EXPECT_EQ(early.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  const Listener listener(port);
  const Meeting meeting = receive_ranks(listener, tcp_launch(0, 2, port), 60);
  EXPECT_EQ(early.get().run, meeting.run);
}

TEST(Rendezvous, WhatDoesNotBelongIsRefusedAndTheJobStarts) {
  Reception zero;
  const int port = zero.listener.port();
  const Socket half = dial(port);
  say(half, make_hello(sound).substr(0, 20));  // and never the rest
  const Socket silent = dial(port);
  const auto refused = [&](const std::string& bytes) {
    const Socket socket = dial(port);
    say(socket, bytes);
    return refusal_of(socket);
  };
  const auto hello = [](const char* job, int rank, int size) {
    return make_hello({job_number(job, size), {rank, size, 0, 1, "elsewhere"}});
  };
  EXPECT_EQ(refused("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP, not a message of nll");
  EXPECT_EQ(refused("garbage"), "not a message of nll");
  EXPECT_EQ(refused(hello("job", 1, 4)), "rank 1 of 4 processes (expected 3)");
  EXPECT_EQ(refused(hello("old job", 1, 3)), "rank 1 of another job");
  EXPECT_EQ(refused(hello("job", 0, 3)), "a second rank 0");
  EXPECT_EQ(refused(hello("job", 3, 3)), "rank 3 of 3");
  EXPECT_EQ(refused(hello("job", 1, 3) + std::string(3000, 'x')), "more bytes than its message has");
  std::string long_one = hello("job", 1, 3);
  long_one[15] = 0x7f;
  EXPECT_EQ(refused(long_one), "a message of 2130706467 bytes");

  const Socket first = dial(port);
  say(first, hello("job", 1, 3));
  EXPECT_EQ(refused(hello("job", 1, 3)), "a second rank 1 (the first is on elsewhere)");
  auto two = zero.join(2);
  const Meeting meeting = zero.meeting.get();
  EXPECT_EQ(two.get().hosts[1], "elsewhere");
  EXPECT_EQ(meeting.refusals.size(), 9u);
}

TEST(Rendezvous, ThousandStrangersDoNotStopIt) {
  Reception zero;
  std::vector<Socket> silent;
  for (int i = 0; i < 1000; ++i) {
    Socket socket = dial(zero.listener.port());
    if (i % 2 == 0) say(socket, i % 4 == 0 ? "junk" : std::string("\x89NLL\r\n", 6));
    if (i % 5 == 0) silent.push_back(std::move(socket));
  }
  auto one = zero.join(1), two = zero.join(2);
  EXPECT_EQ(zero.meeting.get().run, one.get().run);
  EXPECT_EQ(two.get().hosts.size(), 3u);
}

TEST(Rendezvous, ARankThatLeftMayComeAgain) {
  Reception zero;
  {
    const Socket first = dial(zero.listener.port());
    say(first, make_hello({job_number("job", 3), {1, 3, 0, 1, "elsewhere"}}));
  }
  auto again = zero.join(1);
  auto two = zero.join(2);
  const Meeting meeting = zero.meeting.get();
  EXPECT_EQ(again.get().run, meeting.run);
  EXPECT_NE(meeting.hosts[1], "elsewhere");
}

TEST(Rendezvous, NamesWhoIsMissingToAll) {
  Reception zero(0.5);
  auto one = zero.join(1);
  const std::string text = error_of([&] { zero.meeting.get(); }, Exit::peer_lost);
  EXPECT_NE(text.find("rank 2 of 3: not come to port "), std::string::npos) << text;
  EXPECT_NE(text.find("within 0.5 s"), std::string::npos) << text;
  EXPECT_EQ(error_of([&] { one.get(); }, Exit::peer_lost), text);
}

TEST(Rendezvous, TheLastRefusalIsReported) {
  Reception zero(0.5);
  const Socket socket = dial(zero.listener.port());
  say(socket, "GET / ");
  const std::string text = error_of([&] { zero.meeting.get(); }, Exit::peer_lost);
  EXPECT_NE(text.find("ranks 1, 2 of 3"), std::string::npos) << text;
  EXPECT_NE(text.find("; refused 1, the last of them 127.0.0.1: HTTP, not a message of nll"), std::string::npos)
      << text;
}

TEST(Rendezvous, ARefusedProcessSaysWhy) {
  Reception zero(0.5);
  const std::string text = error_of([&] { join_rank_0(tcp_launch(1, 2, zero.listener.port()), 20); }, Exit::usage);
  EXPECT_NE(text.find("rank 0 refused this process: rank 1 of 2 processes (expected 3)"), std::string::npos) << text;
  error_of([&] { zero.meeting.get(); }, Exit::peer_lost);
}

TEST(Rendezvous, APortInUseIsNamed) {
  const Listener listener(0);
  const std::string text = error_of([&] { Listener second(listener.port()); }, Exit::usage);
  EXPECT_NE(
      text.find("port " + std::to_string(listener.port()) + ": rank 0 cannot listen there (Address already in use)"),
      std::string::npos)
      << text;
}

TEST(Rendezvous, NobodyListeningIsNamed) {
  int port = 0;
  {
    const Listener listener(0);
    port = listener.port();
  }
  const std::string text = error_of([&] { join_rank_0(tcp_launch(1, 2, port), 0.2); }, Exit::peer_lost);
  EXPECT_NE(text.find("127.0.0.1:" + std::to_string(port) + ": rank 0 does not answer rank 1"), std::string::npos)
      << text;
  EXPECT_NE(text.find("Connection refused"), std::string::npos) << text;
}

TEST(Rendezvous, AnAddressThatMeansNothingIsNamed) {
  const std::string text =
      error_of([] { join_rank_0(tcp_launch(1, 2, 29500, "job", "no such host"), 0.2); }, Exit::usage);
  EXPECT_EQ(text.find("no such host: the name is unknown on "), 0u) << text;
}

// A service of another kind at the port.
struct OtherService {
  Listener listener{0};
  std::future<Socket> caller;
  explicit OtherService(std::string answer)
      : caller(std::async(std::launch::async, [this, answer] {
          Socket socket;
          const Deadline deadline(20);
          while (!socket.is_open() && !deadline.over()) {
            std::vector<pollfd> one{{listener.descriptor(), POLLIN, 0}};
            poll_sockets(one, deadline.milliseconds());
            std::string from;
            bool full = false;
            socket = listener.accept(from, full);
          }
          if (!answer.empty()) say(socket, answer);
          return socket;
        })) {}
};

TEST(Rendezvous, AnotherServiceAtThePortIsNamed) {
  OtherService web("HTTP/1.1 400 Bad Request\r\n\r\n");
  const std::string text = error_of([&] { join_rank_0(tcp_launch(1, 2, web.listener.port()), 20); }, Exit::usage);
  EXPECT_NE(text.find("what answers there is not rank 0 of this job (HTTP, not a message of nll)"), std::string::npos)
      << text;
}

TEST(Rendezvous, ASilentServiceAtThePortIsNamed) {
  OtherService silent("");
  const std::string text =
      error_of([&] { join_rank_0(tcp_launch(1, 2, silent.listener.port()), 0.1); }, Exit::peer_lost);
  EXPECT_NE(text.find("rank 0 took the connection of rank 1 and has said nothing"), std::string::npos) << text;
}

}  // namespace
}  // namespace nll
