// Tensors between GPUs by NCCL. Only sends and receives are used: sums are our own (collective.h), so none of NCCL's
// algorithm settings can change a bit of a result. The library is opened at run time.
//
// Work goes to a stream of its own: it begins when what the device had queued is done, and wait() makes the device's
// queue, not the host, wait for it. NCCL waits for a dead peer without end, so a thread watches: an operation that is
// not over within the limit, or an error of NCCL's own, ends this process with exit code 75 after a line that says so.
// That is the one place where something other than main ends it, because the thread that would tell main hangs.
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "kernels/device.h"
#include "src/dist/agreement.h"
#include "src/dist/announcement.h"
#include "src/dist/launch.h"
#include "src/dist/nccl_library.h"
#include "src/dist/pacer.h"

namespace nll {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr const char* library_file = "libnccl.so.2";
constexpr const char* sharing_hint =
    "start at most one rank for each GPU, or --set dist.transport=host --set dist.share_gpu=true";
constexpr const char* without_hint = "install NCCL 2.18 or newer, or --set dist.transport=host";

// ---- the library ---------------------------------------------------------------------------------------------------

struct Library {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetLastError) last_error;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRankConfig) init;
  decltype(&ncclCommGetAsyncError) async_error;
  decltype(&ncclCommFinalize) finalize;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclCommAbort) abort;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
  decltype(&ncclSend) send;
  decltype(&ncclRecv) receive;
  decltype(&ncclBroadcast) broadcast;
};

int version_of(const Library& library) {
  int version = 0;  // stays 0 where the library cannot say
  (void)library.get_version(&version);
  return version;
}

std::string version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

// Never closed: NCCL has threads of its own.
Library open_library() {
  void* library = dlopen(library_file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* text = dlerror();
    throw Error(Exit::usage, fmt::format("nccl: {}", text != nullptr ? text : "the library cannot be opened"),
                without_hint);
  }
  Library found{};
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (function == nullptr) {
      throw Error(Exit::usage, fmt::format("nccl: {} has no {}", library_file, name), without_hint);
    }
  };
  find("ncclGetVersion", found.get_version);
  find("ncclGetErrorString", found.error_string);
  find("ncclGetLastError", found.last_error);
  find("ncclGetUniqueId", found.get_unique_id);
  find("ncclCommInitRankConfig", found.init);
  find("ncclCommGetAsyncError", found.async_error);
  find("ncclCommFinalize", found.finalize);
  find("ncclCommDestroy", found.destroy);
  find("ncclCommAbort", found.abort);
  find("ncclGroupStart", found.group_start);
  find("ncclGroupEnd", found.group_end);
  find("ncclSend", found.send);
  find("ncclRecv", found.receive);
  find("ncclBroadcast", found.broadcast);
  constexpr int oldest = 21800;
  if (const int version = version_of(found); version < oldest) {
    throw Error(Exit::usage,
                fmt::format("nccl: {} is NCCL {} (expected {} or newer)", library_file, version_text(version),
                            version_text(oldest)),
                without_hint);
  }
  return found;
}

// One line, whatever the library says.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string text_of(const Library& library, ncclResult_t result) {
  const char* more = library.last_error(nullptr);
  std::string text = library.error_string(result);
  if (more != nullptr && *more != '\0') text += fmt::format(" ({})", more);
  return one_line(text);
}

void check(const Library& library, ncclResult_t result, const char* what) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  throw Error(Exit::peer_lost, fmt::format("nccl: {}: {}", what, text_of(library, result)),
              "NCCL_DEBUG=INFO in the environment makes it say more");
}

void check(cudaError_t outcome, const char* what) {
  if (outcome == cudaSuccess) return;
  (void)cudaGetLastError();
  const bool no_gpu = outcome == cudaErrorNoDevice || outcome == cudaErrorInsufficientDriver ||
                      outcome == cudaErrorDevicesUnavailable || outcome == cudaErrorSystemDriverMismatch;
  throw Error(no_gpu ? Exit::resources : Exit::internal,
              fmt::format("nccl: {}: {} ({})", what, cudaGetErrorName(outcome), cudaGetErrorString(outcome)),
              no_gpu ? "see that nvidia-smi lists a GPU, or use device \"cpu\"" : "");
}

ncclUniqueId unique_id(const Library& library) {
  ncclUniqueId id{};
  check(library, library.get_unique_id(&id), "making the id of a communicator");
  return id;
}

// ---- handles -------------------------------------------------------------------------------------------------------

class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event"); }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event() {
    if (event_ != nullptr) (void)cudaEventDestroy(event_);
  }
  void record(cudaStream_t stream) const { check(cudaEventRecord(event_, stream), "marking a stream"); }
  void hold(cudaStream_t stream) const { check(cudaStreamWaitEvent(stream, event_, 0), "ordering two streams"); }
  cudaError_t query() const { return cudaEventQuery(event_); }

 private:
  cudaEvent_t event_ = nullptr;
};

// ---- the transport -------------------------------------------------------------------------------------------------

class NcclTransport final : public Transport {
 public:
  // Delegates, so that what was made is given back where a later step throws.
  NcclTransport(std::shared_ptr<Transport> host, Device& device, bool share_gpu) : NcclTransport(std::move(host)) {
    set_limit(host_->limit_seconds());
    together(*host_, "finding NCCL and the GPU", [&] {
      library_ = open_library();
      check(cudaGetDevice(&gpu_), "asking for the GPU");
      std::array<char, 32> text{};
      check(cudaDeviceGetPCIBusId(text.data(), static_cast<int>(text.size()), gpu_), "asking where the GPU is");
      bus_ = text.data();
      queue_ = static_cast<cudaStream_t>(device.queue());
      if (queue_ == nullptr) {
        throw Error(Exit::usage, "dist.transport: nccl carries the memory of GPUs, and this run is on a CPU",
                    "--set dist.transport=auto");
      }
      check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    });
    if (!share_gpu) refuse_shared_gpus();
    connect(share_gpu ? sharing_hint : "");
    before_.emplace();
    watchdog_ = std::thread([this] { watch(); });
  }

  ~NcclTransport() override {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    if (watchdog_.joinable()) watchdog_.join();
    if (communicator_ != nullptr) leave();
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  }

  const World& world() const override { return host_->world(); }
  std::string name() const override { return "nccl"; }
  bool device_memory() const override { return true; }

  Ticket all_to_all(Tensor received, Tensor send, std::span<const std::int64_t> cuts,
                    const Operation& operation) override {
    check_cuts(cuts, send);
    const std::int64_t size = bytes_of(send.type());
    const auto part = [&](int r) { return (cuts[at(r)] - cuts[0]) * size; };
    const std::int64_t own = part(rank() + 1) - part(rank());
    CHECK(received.bytes() == own * ranks());
    begin();
    auto* const to = static_cast<std::uint8_t*>(received.data());
    const auto* const from = static_cast<const std::uint8_t*>(send.data());
    if (own > 0) {
      check(cudaMemcpyAsync(to + rank() * own, from + part(rank()), static_cast<std::size_t>(own),
                            cudaMemcpyDeviceToDevice, stream_),
            "copying the own part");
    }
    group([&] {
      for (int other = 0; other < ranks(); ++other) {
        if (other == rank()) continue;
        send_to(other, from + part(other), part(other + 1) - part(other));
        receive_from(other, to + other * own, own);
      }
    });
    return end(operation);
  }

  Ticket all_gather(Tensor data, std::span<const std::int64_t> cuts, const Operation& operation) override {
    check_cuts(cuts, data);
    const std::int64_t size = bytes_of(data.type());
    const auto part = [&](int r) { return (cuts[at(r)] - cuts[0]) * size; };
    begin();
    auto* const all = static_cast<std::uint8_t*>(data.data());
    group([&] {
      for (int other = 0; other < ranks(); ++other) {
        if (other == rank()) continue;
        send_to(other, all + part(rank()), part(rank() + 1) - part(rank()));
        receive_from(other, all + part(other), part(other + 1) - part(other));
      }
    });
    return end(operation);
  }

  Ticket broadcast(Tensor data, int root, const Operation& operation) override {
    begin();
    if (data.bytes() > 0) {
      settle(library_.broadcast(data.data(), data.data(), static_cast<std::size_t>(data.bytes()), ncclUint8, root,
                                communicator_, stream_),
             "a broadcast");
    }
    return end(operation);
  }

  void wait(Ticket ticket) override {
    CHECK(ticket <= number_);
    const std::lock_guard lock(mutex_);
    for (const InFlight& one : in_flight_) {
      if (one.number == ticket) return one.done.hold(queue_);
    }
    // One that is not there any more was seen to be over.
  }
  void progress() override {}

  std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation& operation) override {
    host_->set_limit(limit_seconds());
    return host_->exchange(mine, operation);
  }
  void abort(Exit exit) noexcept override { host_->abort(exit); }

 private:
  explicit NcclTransport(std::shared_ptr<Transport> host) : host_(std::move(host)) {}

  struct InFlight {
    Ticket number = 0;
    Announcement what;
    Clock::time_point issued;
    double limit = 0;
    Event done;
  };

  int rank() const { return world().rank; }
  int ranks() const { return world().size; }
  static std::size_t at(int i) { return static_cast<std::size_t>(i); }
  void check_cuts(std::span<const std::int64_t> cuts, const Tensor& tensor) const {
    CHECK(static_cast<int>(cuts.size()) == ranks() + 1);
    CHECK(tensor.size() == cuts.back() - cuts.front());
  }

  // NCCL would refuse too, with less to go on.
  void refuse_shared_gpus() {
    const auto places = exchange_texts(*host_, world().host + "\n" + bus_, {"comparing the GPUs of ranks"});
    for (std::size_t r = 0; r < places.size(); ++r) {
      const auto first = static_cast<std::size_t>(std::find(places.begin(), places.end(), places[r]) - places.begin());
      if (first == r) continue;
      const std::string host = places[r].substr(0, places[r].find('\n'));
      throw AgreedError(Exit::usage,
                        fmt::format("nccl: ranks {} and {} are on the same GPU ({} of {}; expected one for each rank)",
                                    first, r, places[r].substr(host.size() + 1), host),
                        sharing_hint);
    }
  }

  // `hint`: what helps where it fails, if that is known.
  void connect(const char* hint) {
    ncclUniqueId id{};
    together(*host_, "making NCCL's id", [&] {
      if (rank() == 0) id = unique_id(library_);
    });
    const auto ids = host_->exchange({reinterpret_cast<const std::uint8_t*>(&id), sizeof id}, {"sending NCCL's id"});
    std::memcpy(&id, ids.data(), sizeof id);
    together(*host_, "connecting by NCCL", [&] {
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      // Sooner than the exchange that follows gives up on those who still try.
      connect_limit_ = 0.8 * limit_seconds();
      try {
        settle(library_.init(&communicator_, ranks(), id, rank(), &config), "connecting the ranks");
      } catch (const Error& error) {
        if (*hint == '\0') throw;
        throw Error(error.exit(), error.what(), hint);
      }
    });
    connect_limit_.reset();
  }

  // Calls of a communicator that does not block are over when it says so; until then nothing else may be called.
  void settle(ncclResult_t result, const char* what) {
    const auto start = Clock::now();
    const double limit = connect_limit_.value_or(limit_seconds());
    check(library_, result, what);
    if (result == ncclSuccess && !connect_limit_) return;
    Pacer pacer;
    while (true) {
      ncclResult_t state = ncclSuccess;
      check(library_, library_.async_error(communicator_, &state), what);
      check(library_, state, what);
      if (state == ncclSuccess) return;
      if (Clock::now() - start > Seconds(limit)) {
        throw Error(Exit::peer_lost, fmt::format("nccl: {} has not ended within {:g} s", what, limit),
                    "see that the hosts reach each other on all ports; NCCL_SOCKET_IFNAME in the environment chooses "
                    "the network");
      }
      pacer.pause();
    }
  }

  template <class Work>
  void group(const Work& work) {
    check(library_, library_.group_start(), "starting a group");
    work();
    settle(library_.group_end(), "sending and receiving");
  }
  void send_to(int other, const std::uint8_t* data, std::int64_t bytes) {
    if (bytes == 0) return;
    check(library_, library_.send(data, static_cast<std::size_t>(bytes), ncclUint8, other, communicator_, stream_),
          "sending");
  }
  void receive_from(int other, std::uint8_t* data, std::int64_t bytes) {
    if (bytes == 0) return;
    check(library_, library_.receive(data, static_cast<std::size_t>(bytes), ncclUint8, other, communicator_, stream_),
          "receiving");
  }

  void begin() {
    before_->record(queue_);
    before_->hold(stream_);
  }
  Ticket end(const Operation& operation) {
    InFlight one;
    {
      const std::lock_guard lock(mutex_);
      if (!spare_.empty()) {
        one.done = std::move(spare_.back());
        spare_.pop_back();
      }
    }
    one.number = ++number_;
    one.what = Announcement(OperationKind::all_gather, operation, -1);
    one.issued = Clock::now();
    one.limit = limit_seconds();
    one.done.record(stream_);
    const std::lock_guard lock(mutex_);
    in_flight_.push_back(std::move(one));
    return number_;
  }

  // ---- the watchdog's thread ---------------------------------------------------------------------------------------

  void watch() {
    (void)cudaSetDevice(gpu_);
    // Looking at events must not disturb a recording that the first thread makes.
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    (void)cudaThreadExchangeStreamCaptureMode(&mode);
    constexpr auto pause = std::chrono::milliseconds(100);
    std::unique_lock lock(mutex_);
    while (!over_) {
      changed_.wait_for(lock, pause);
      while (!in_flight_.empty()) {
        const InFlight& first = in_flight_.front();
        const cudaError_t state = first.done.query();
        if (state == cudaErrorNotReady) break;
        if (state != cudaSuccess) die(first, cudaGetErrorString(state));
        spare_.push_back(std::move(in_flight_.front().done));
        in_flight_.pop_front();
      }
      if (in_flight_.empty() || over_) continue;
      const InFlight& first = in_flight_.front();
      ncclResult_t state = ncclSuccess;
      if (library_.async_error(communicator_, &state) == ncclSuccess && state != ncclSuccess &&
          state != ncclInProgress) {
        die(first, text_of(library_, state));
      }
      if (Clock::now() - first.issued > Seconds(first.limit)) {
        die(first, fmt::format("has not ended for {:g} s: another rank hangs or is gone", first.limit));
      }
    }
  }

  [[noreturn]] void die(const InFlight& one, const std::string& why) {
    const std::string line =
        fmt::format("error: [rank {} {}] nccl: {}: {}\n", rank(), world().host, one.what.text(), one_line(why));
    if (write(STDERR_FILENO, line.data(), line.size()) < 0) {
      // There is nobody left to be told.
    }
    // Lets the GPU and the other ranks go; it may hang as well.
    std::thread([this] {
      (void)library_.abort(communicator_);
      aborted_ = true;
    }).detach();
    constexpr Seconds most{5.0};
    const auto start = Clock::now();
    while (!aborted_ && Clock::now() - start < most) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    _exit(static_cast<int>(Exit::peer_lost));
  }

  // ---- the end -----------------------------------------------------------------------------------------------------

  // Orderly where all is well; after a failure, or when the others do not come to the end, without them.
  void leave() noexcept {
    bool clean = std::uncaught_exceptions() == exceptions_;
    if (clean) {
      constexpr Seconds most{10.0};
      const auto start = Clock::now();
      ncclResult_t state = library_.finalize(communicator_);
      Pacer pacer;
      while (state == ncclInProgress && Clock::now() - start < most) {
        pacer.pause();
        if (library_.async_error(communicator_, &state) != ncclSuccess) state = ncclInternalError;
      }
      clean = state == ncclSuccess;
    }
    (void)(clean ? library_.destroy(communicator_) : library_.abort(communicator_));
  }

  std::shared_ptr<Transport> host_;
  Library library_{};
  int gpu_ = 0;
  std::string bus_;
  cudaStream_t queue_ = nullptr, stream_ = nullptr;  // the device's, and the own one
  ncclComm_t communicator_ = nullptr;
  const int exceptions_ = std::uncaught_exceptions();  // more of them at the end: something failed
  std::optional<double> connect_limit_;
  std::optional<Event> before_;
  Ticket number_ = 0;
  std::atomic<bool> aborted_ = false;

  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  std::deque<InFlight> in_flight_;  // in the order of their numbers, and of their ends
  std::vector<Event> spare_;
  bool over_ = false;
  std::thread watchdog_;
};

}  // namespace

std::string nccl_version() { return version_text(version_of(open_library())); }

std::string nccl_unique_id() {
  const ncclUniqueId id = unique_id(open_library());
  return {id.internal, sizeof id.internal};
}

std::shared_ptr<Transport> nccl_transport(std::shared_ptr<Transport> host, Device& device, bool share_gpu) {
  return std::make_shared<NcclTransport>(std::move(host), device, share_gpu);
}

}  // namespace nll
