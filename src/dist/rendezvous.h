// Rendezvous: how the processes of a job find each other through one TCP port. Rank 0 listens, the others connect and
// say who they are; whatever else comes to the port is refused with a reason and disturbs nobody.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "src/dist/launch.h"
#include "src/dist/tcp_socket.h"

namespace nll {

struct Meeting {
  std::uint64_t run = 0;
  World world;                     // with the name of this host
  std::vector<std::string> hosts;  // of all ranks
  // Rank 0: of each rank (the own one is not open). Others: one, to rank 0.
  std::vector<Socket> connections;
  std::vector<std::string> refusals;  // rank 0: who was refused and why, the first few
};

// Rank 0's part. Error(peer_lost) names those who have not come within the limit, and the last that was refused.
Meeting receive_ranks(const Listener& listener, const Launch& launch, double limit_seconds);
// The others' part; tries again until somebody listens there. Error(usage) where the address means nothing, something
// else answers, or rank 0 refuses this process; Error(peer_lost) where rank 0 is not there within the limit.
Meeting join_rank_0(const Launch& launch, double limit_seconds);

}  // namespace nll
