// Runs a bundle on its golden images, and saves what `glow-deploy verify --outputs` judges.
//
//   glow-deploy golden BUNDLE --inputs golden-in
//   g++ -std=c++17 golden.cpp -I ONNXRUNTIME/include -L ONNXRUNTIME/lib -lonnxruntime -o golden
//   ./golden BUNDLE golden-in golden-out
//   glow-deploy verify BUNDLE --outputs golden-out

#include <onnxruntime_cxx_api.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

using Bytes = std::vector<char>;
using Tensors = std::map<std::string, Bytes>;  // little-endian values by the names that a graph has for them

static Bytes read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

struct Graph {
  explicit Graph(const std::filesystem::path& path) : session(env(), path.c_str(), Ort::SessionOptions{}) {}

  // Takes SET.NAME.bin for every input of the graph.
  Tensors feeds(const std::filesystem::path& folder, const std::string& set) {
    Tensors found;
    for (size_t i = 0; i < session.GetInputCount(); ++i) {
      const std::string name = session.GetInputNameAllocated(i, allocator).get();
      found[name] = read(folder / (set + "." + name + ".bin"));
    }
    return found;
  }

  Tensors run(Tensors feeds) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<std::string> names, outputs;
    std::vector<Ort::Value> values;
    for (size_t i = 0; i < session.GetInputCount(); ++i) {
      names.push_back(session.GetInputNameAllocated(i, allocator).get());
      Bytes& bytes = feeds.at(names.back());
      const auto type = session.GetInputTypeInfo(i);
      const auto info = type.GetTensorTypeAndShapeInfo();
      auto shape = info.GetShape();  // [batch, ...]; the bytes tell how large the batch is
      size_t row = info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 ? 8 : 4;
      for (size_t axis = 1; axis < shape.size(); ++axis) row *= shape[axis];
      shape[0] = static_cast<int64_t>(bytes.size() / row);
      values.push_back(Ort::Value::CreateTensor(memory, bytes.data(), bytes.size(), shape.data(), shape.size(),
                                                info.GetElementType()));
    }
    std::vector<const char*> in, out;
    for (size_t i = 0; i < session.GetOutputCount(); ++i)
      outputs.push_back(session.GetOutputNameAllocated(i, allocator).get());
    for (const auto& name : names) in.push_back(name.c_str());
    for (const auto& name : outputs) out.push_back(name.c_str());
    auto results = session.Run(Ort::RunOptions{}, in.data(), values.data(), in.size(), out.data(), out.size());
    Tensors given;
    for (size_t i = 0; i < results.size(); ++i) {
      const float* data = results[i].GetTensorData<float>();
      const auto* start = reinterpret_cast<const char*>(data);
      given[outputs[i]] = Bytes(start, start + 4 * results[i].GetTensorTypeAndShapeInfo().GetElementCount());
    }
    return given;
  }

  static Ort::Env& env() {
    static Ort::Env one(ORT_LOGGING_LEVEL_WARNING, "golden");
    return one;
  }
  Ort::Session session;
  Ort::AllocatorWithDefaultOptions allocator;
};

static void save(const std::filesystem::path& folder, const std::string& set, const Tensors& tensors) {
  for (const auto& [name, bytes] : tensors)
    std::ofstream(folder / (set + "." + name + ".bin"), std::ios::binary).write(bytes.data(), bytes.size());
}

int main(int count, char** words) try {
  if (count != 4) throw std::runtime_error("usage: golden BUNDLE INPUTS OUTPUTS");
  const std::filesystem::path bundle = words[1], source = words[2], target = words[3];
  std::filesystem::create_directories(target);
  Graph encoder(bundle / "encoder.onnx"), decoder(bundle / "decoder.onnx"), canary(source / "canary.onnx");

  const Tensors fed = encoder.feeds(source, "encoder");
  Tensors latents = encoder.run(fed);
  save(target, "encoder", latents);
  save(target, "decoder", decoder.run(decoder.feeds(source, "decoder")));

  // The round trip: its own latents decoded, and what came back encoded once more.
  latents.erase("log_prob");
  if (fed.count("y")) latents["y"] = fed.at("y");
  Tensors returned = decoder.run(latents);
  save(target, "round_trip", returned);
  if (fed.count("y")) returned["y"] = fed.at("y");
  save(target, "round_trip", encoder.run(returned));

  // Two convolutions whose result tells what number format this machine really computes in.
  save(target, "canary", canary.run(canary.feeds(source, "canary")));
  std::filesystem::copy_file(source / "index.json", target / "index.json",
                             std::filesystem::copy_options::overwrite_existing);
  std::cout << "saved what the golden images gave in " << target << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
