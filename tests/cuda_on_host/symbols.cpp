// Names of this program's own functions: its ELF symbol table, read when a fault has to be told.
#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "tests/cuda_on_host/kernel_launch.h"

namespace nll::cuda_on_host {
namespace {

std::string demangled(const char* symbol) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(symbol, nullptr, nullptr, &status), std::free);
  std::string text = status == 0 ? name.get() : symbol;
  // "void nll::cuda::(anonymous namespace)::add<float>(float*)": without result, arguments and namespaces.
  for (const char* const part : {"void ", "(anonymous namespace)::", "nll::cuda::", "nll::cuda_on_host::"}) {
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part)) {
      text.erase(at, std::strlen(part));
    }
  }
  return text.substr(0, text.find('('));
}

template <class T>
T part(const std::vector<char>& image, std::size_t offset) {
  T value{};
  if (offset + sizeof(T) <= image.size()) std::memcpy(&value, image.data() + offset, sizeof(T));
  return value;
}

// Where this program was loaded, which its own symbols are relative to.
std::uintptr_t load_address() {
  std::uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        *static_cast<std::uintptr_t*>(result) = info->dlpi_addr;
        return 1;  // the program itself comes first
      },
      &address);
  return address;
}

}  // namespace

std::string name_of_function(const void* function) {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::vector<char> image((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto header = part<ElfW(Ehdr)>(image, 0);
  const std::uintptr_t wanted = reinterpret_cast<std::uintptr_t>(function) - load_address();
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const auto table = part<ElfW(Shdr)>(image, header.e_shoff + i * header.e_shentsize);
    if (table.sh_type != SHT_SYMTAB) continue;
    const auto names = part<ElfW(Shdr)>(image, header.e_shoff + table.sh_link * header.e_shentsize);
    for (std::size_t at = 0; at + sizeof(ElfW(Sym)) <= table.sh_size; at += sizeof(ElfW(Sym))) {
      const auto symbol = part<ElfW(Sym)>(image, table.sh_offset + at);
      if ((symbol.st_info & 0xf) != STT_FUNC || symbol.st_value != wanted) continue;
      const std::size_t name = names.sh_offset + symbol.st_name;
      if (name < image.size()) return demangled(image.data() + name);
    }
  }
  return "a kernel";
}

}  // namespace nll::cuda_on_host
