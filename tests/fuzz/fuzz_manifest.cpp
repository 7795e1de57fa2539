// Input: the manifest.json of a checkpoint whose other files are sound. When the first byte is odd the rest gets a
// right checksum line, so that what stands behind it is reached. Claim: it is refused, or read and then written and
// read back equal; verifying says what is wrong or nothing; no file outside the checkpoint's folder is touched.
#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/manifest.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/memory_folder.h"
#include "tests/fuzz/sound_checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nll;
  if (size == 0) return 0;
  std::string text(fuzz::text_of(data + 1, size - 1));
  if (data[0] % 2 == 1) text += fuzz::checksum_line(text);

  fuzz::takes_or_refuses({Exit::no_checkpoint}, [&] {
    const std::string written = make_manifest(parse_manifest(text, "manifest.json"));
    fuzz::require(make_manifest(parse_manifest(written, "manifest.json")) == written, "a manifest reads back equal");
  });

  const std::string folder = "run/checkpoints/step_00000010";
  fuzz::MemoryFolder files(folder);
  files.files() = fuzz::sound_files();
  files.files()[manifest_name] = text;
  fuzz::takes_or_refuses({Exit::bad_data, Exit::no_checkpoint}, [&] {
    fuzz::require(CheckpointFolder(files, folder).has_manifest(), "a manifest that is there is seen");
  });
  fuzz::takes_or_refuses({Exit::bad_data, Exit::no_checkpoint}, [&] {
    for (const std::string& line : verify_checkpoint(files, folder))
      fuzz::require(!line.empty(), "a finding says what is wrong");
  });
  return 0;
}
