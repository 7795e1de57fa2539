#include "tests/config/golden.h"

#include <fstream>

namespace nll {

std::string resolve_escapes(const std::string& text) {
  std::string resolved;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text[at] == '<' ? text.find('>', at) : std::string::npos;
    const std::string inside = end == std::string::npos ? "" : text.substr(at + 1, end - at - 1);
    const std::size_t star = inside.find('*');
    if (inside.size() == 3 && inside[0] == 'x') {
      resolved += static_cast<char>(std::stoi(inside.substr(1), nullptr, 16));
      at = end + 1;
    } else if (star != std::string::npos && star + 2 == inside.size()) {
      resolved.append(std::stoul(inside), inside.back());
      at = end + 1;
    } else {
      resolved += text[at++];
    }
  }
  return resolved;
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
