// A job of ranks that are threads and meet through a real port of this host.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "src/dist/rendezvous.h"
#include "src/dist/tcp.h"

namespace nll::test {

inline Launch tcp_launch(int rank, int size, int port, const std::string& job = "job",
                         const char* address = "127.0.0.1") {
  Launch launch;
  launch.kind = Launch::Kind::addresses;
  launch.world = {rank, size, rank, size, ""};
  launch.address = address;
  launch.port = port;
  launch.job = job;
  return launch;
}

// Runs `work` on every rank; what each threw, "" where nothing.
inline std::vector<std::string> on_tcp_ranks(int size, double limit, const std::function<void(Transport&)>& work) {
  const Listener listener(0);
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        constexpr double meeting_limit = 60;
        const Launch launch = tcp_launch(rank, size, listener.port());
        Meeting meeting =
            rank == 0 ? receive_ranks(listener, launch, meeting_limit) : join_rank_0(launch, meeting_limit);
        work(*tcp_transport(std::move(meeting), limit));
      } catch (const std::exception& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

}  // namespace nll::test
