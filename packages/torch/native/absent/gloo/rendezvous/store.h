// What c10d's header of its gloo backend needs to know of gloo, whose own headers PyPI's packages of torch lack: names,
// and a base class that only libtorch makes. Real headers are found first where there are any.
#pragma once
#include <chrono>
#include <string>
#include <vector>
namespace gloo::rendezvous {
struct Store {
  virtual ~Store();
  virtual void set(const std::string& key, const std::vector<char>& value) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
};
}  // namespace gloo::rendezvous
