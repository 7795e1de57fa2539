#include "tests/config/golden.h"

#include <fstream>
#include <regex>

namespace nll {

std::string resolve_escapes(const std::string& text) {
  static const std::regex escape("<x([0-9A-F]{2})>|<([0-9]+)\\*([^>])>");
  std::string resolved;
  auto from = text.cbegin();
  for (std::sregex_iterator match(text.begin(), text.end(), escape), end; match != end; ++match) {
    resolved.append(from, (*match)[0].first);
    if ((*match)[1].matched) {
      resolved += static_cast<char>(std::stoi((*match)[1], nullptr, 16));
    } else {
      resolved.append(std::stoul((*match)[2]), (*match)[3].str()[0]);
    }
    from = (*match)[0].second;
  }
  return resolved.append(from, text.cend());
}

BadCases read_cases(const std::string& path) {
  std::ifstream file(path);
  BadCases result;
  std::string line, part, config;
  BadCase* current = nullptr;
  while (std::getline(file, line)) {
    if (line.rfind("=== ", 0) == 0) {
      current = &result.cases.emplace_back();
      current->name = line.substr(4);
      current->written = line + "\n";
      part = "";
    } else if (current == nullptr) {
      result.head += line + "\n";
    } else if (line.rfind("--- ", 0) == 0) {
      part = line.substr(4);
      if (part == "config") current->config.clear();
      current->written += line + "\n";
    } else if (part == "error") {
      if (!line.empty()) current->error += line + "\n";
    } else {
      current->written += line + "\n";
      if (part == "config") current->config += (current->config.empty() ? "" : "\n") + resolve_escapes(line);
      if (part == "set") current->overrides.push_back(resolve_escapes(line));
      if (part == "ranks") current->ranks = std::stoll(line);
    }
  }
  return result;
}

void write_cases(const std::string& path, const BadCases& cases) {
  std::ofstream file(path, std::ios::trunc);
  file << cases.head;
  for (std::size_t i = 0; i < cases.cases.size(); ++i) {
    file << cases.cases[i].written << cases.cases[i].error << (i + 1 < cases.cases.size() ? "\n" : "");
  }
}

}  // namespace nll
