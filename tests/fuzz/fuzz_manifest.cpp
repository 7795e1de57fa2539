// Input: the manifest.json of a checkpoint whose other files are sound.
// Claim: opening and verifying it never fails but by a refusal or by findings, and touches no file outside its folder.
#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/memory_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nll;
  const std::string folder = "run/checkpoints/step_00000010";
  fuzz::MemoryFolder files(folder);
  std::string weights = make_safetensors_header({}, {{"format", "pt"}});
  files.files()["model.safetensors"] = weights;
  files.files()["optimizer.safetensors"] = weights;
  files.files()["config.json"] = "{}";
  files.files()["manifest.json"] = fuzz::text_of(data, size);
  fuzz::takes_or_refuses({Exit::bad_data, Exit::no_checkpoint, Exit::io}, [&] {
    const CheckpointFolder opened(files, folder);
    fuzz::require(opened.has_manifest(), "a manifest that is there is seen");
  });
  fuzz::takes_or_refuses({Exit::bad_data, Exit::no_checkpoint, Exit::io}, [&] {
    for (const std::string& line : verify_checkpoint(files, folder))
      fuzz::require(!line.empty(), "a finding says what");
  });
  return 0;
}
