#include "fault.h"

#include <algorithm>
#include <iterator>
#include <sstream>

namespace visurf {

std::string listed(const std::vector<int>& ranks) {
  std::ostringstream out;
  out << (ranks.size() == 1 ? "rank " : "ranks ");
  for (size_t i = 0; i < ranks.size(); ++i) out << (i == 0 ? "" : ", ") << ranks[i];
  return out.str();
}

Fault ended(int rank, const std::string& why) { return {{rank}, listed({rank}) + " has ended: " + why}; }

std::string plain(std::string cause) {
  if (cause.starts_with('[') && cause.find("] ") != std::string::npos) cause.erase(0, cause.find("] ") + 2);
  return cause.substr(0, std::min(cause.find(". This is typically"), cause.find('\n')));
}

// Ranks, then the text.
std::string packed(const Fault& fault) {
  std::ostringstream out;
  out << fault.ranks.size();
  for (const int rank : fault.ranks) out << ' ' << rank;
  out << '\n' << fault.text;
  return out.str();
}

Fault unpacked(const std::string& text) {
  std::istringstream in(text);
  size_t count = 0;
  in >> count;
  Fault fault{std::vector<int>(count), ""};
  for (int& rank : fault.ranks) in >> rank;
  in.get();
  fault.text.assign(std::istreambuf_iterator<char>(in), {});
  return fault;
}

}  // namespace visurf
