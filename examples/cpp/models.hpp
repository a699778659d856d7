// The detector and the embedder: model folders with a manifest.json, run by OpenVINO.
#pragma once

#include <openvino/openvino.hpp>
#include <string>
#include <vector>

#include "json.hpp"
#include "picture.hpp"

// What both have in common: a folder's manifest, and its program compiled for one picture of bytes.
class Network {
public:
    // Throws std::exception for a folder without manifest.json and inference.onnx or inference.xml.
    Network(ov::Core &core, const std::string &folder, int threads);

protected:
    // Resizes as the manifest says and runs the program.
    void run(const Picture &picture);
    ov::Tensor output(const std::string &name) { return request_.get_tensor(name); }

    Json manifest_;
    int width_ = 0, height_ = 0;

private:
    std::string interpolation_;
    ov::InferRequest request_;
};

struct Detection {
    Box box;
    float confidence;
};

class Detector : public Network {
public:
    using Network::Network;
    // The objects that reach the manifest's threshold, the most confident first, at most `most`.
    std::vector<Detection> detect(const Picture &picture, int most);
};

class Embedder : public Network {
public:
    using Network::Network;
    int dim() const { return static_cast<int>(manifest_.at("output").at("dim").number); }
    // The least similarity of an answer that the manifest advises.
    float threshold() const { return static_cast<float>(manifest_.at("thresholds").number_or("similarity", 0.5)); }
    // By which galleries name it: SHA-256 over the programs' checksums that the manifest lists.
    std::string digest() const;
    // Of length 1.
    std::vector<float> embed(const Picture &crop);
};

struct FloatBox {
    float x1, y1, x2, y2;
};

// Intersection over union; with `offset` 1 both corners belong to a box, as PaddleClas counts.
float overlap(const FloatBox &a, const FloatBox &b, float offset);
