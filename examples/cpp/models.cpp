#include "models.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>

#include "sha256.hpp"

namespace {

// Those of models/detector.py: the official export's.
constexpr float score_floor = 0.025F, suppression_iou = 0.6F;
constexpr std::size_t candidates = 1000, kept_boxes = 100;
constexpr const char *unknowns = "unknowns.npy", *fewer_bits = "inference_"; // next to the fp32 programs
constexpr double default_confidence = 0.2, epsilon = 1e-12;

struct Candidate {
    FloatBox box; // in pixels of the network's input
    float score;
};

std::string text_of(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("there is no " + path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<float> colours(const Json &manifest, const std::string &name) {
    std::vector<float> values;
    for (const Json &one : manifest.at("input").at(name).array) values.push_back(static_cast<float>(255 * one.number));
    if (values.size() != 3) throw std::runtime_error("manifest.json: input." + name + " must be three numbers");
    return values;
}

template <typename Row> void best_first(std::vector<Row> &rows, std::size_t most) {
    std::stable_sort(rows.begin(), rows.end(), [](const Row &a, const Row &b) { return a.score > b.score; });
    if (rows.size() > most) rows.resize(most);
}

// One level: `scores` holds a cell each, `distances` (1, 4 * bins, rows, columns). A cell's box spans four distances from
// its centre, each the expectation over the bins, in strides. (PicoDet, arXiv 2111.00902)
void decode_level(const ov::Tensor &scores, const ov::Tensor &distances, int stride, int bins, std::vector<Candidate> &found) {
    const ov::Shape shape = distances.get_shape();
    if (shape.size() != 4 || shape[1] != static_cast<std::size_t>(4 * bins) || scores.get_size() != shape[2] * shape[3])
        throw std::runtime_error("the detector's heads have other shapes than its manifest says");
    const std::size_t columns = shape[3], cells = shape[2] * shape[3];
    const float *score = scores.data<float>(), *logits = distances.data<float>();
    struct Cell {
        std::size_t place;
        float score;
    };
    std::vector<Cell> chosen;
    for (std::size_t cell = 0; cell < cells; ++cell)
        if (score[cell] > score_floor) chosen.push_back({cell, score[cell]});
    best_first(chosen, candidates);
    for (const Cell &cell : chosen) {
        float sides[4]; // left, top, right, bottom
        for (int side = 0; side < 4; ++side) {
            const auto logit = [&](int bin) { return logits[(static_cast<std::size_t>(side) * bins + bin) * cells + cell.place]; };
            float largest = logit(0), sum = 0, expected = 0;
            for (int bin = 1; bin < bins; ++bin) largest = std::max(largest, logit(bin));
            for (int bin = 0; bin < bins; ++bin) {
                const float weight = std::exp(logit(bin) - largest);
                sum += weight;
                expected += weight * static_cast<float>(bin);
            }
            sides[side] = expected / sum * static_cast<float>(stride);
        }
        const float x = (static_cast<float>(cell.place % columns) + 0.5F) * static_cast<float>(stride);
        const float y = (static_cast<float>(cell.place / columns) + 0.5F) * static_cast<float>(stride);
        found.push_back({{x - sides[0], y - sides[1], x + sides[2], y + sides[3]}, cell.score});
    }
}

FloatBox clipped(const FloatBox &box, float width, float height) {
    const auto within = [](float value, float most) { return std::min(std::max(value, 0.0F), most); };
    return {within(box.x1, width), within(box.y1, height), within(box.x2, width), within(box.y2, height)};
}

} // namespace

Network::Network(ov::Core &core, const std::string &folder, int threads) : manifest_(parse_json(text_of(folder + "/manifest.json"))) {
    const Json &input = manifest_.at("input");
    width_ = static_cast<int>(input.at("width").number);
    height_ = static_cast<int>(input.at("height").number);
    interpolation_ = input.at("interpolation").string;
    const bool onnx = std::ifstream(folder + "/inference.onnx").good();
    auto model = core.read_model(folder + (onnx ? "/inference.onnx" : "/inference.xml"));
    std::vector<std::unordered_set<std::string>> names; // the steps below would lose them
    for (const auto &port : model->outputs()) names.push_back(port.get_names());
    ov::preprocess::PrePostProcessor steps(model);
    auto &given = steps.input();
    given.tensor().set_element_type(ov::element::u8).set_layout("NHWC");
    given.model().set_layout("NCHW");
    given.preprocess().convert_element_type(ov::element::f32).mean(colours(manifest_, "mean")).scale(colours(manifest_, "std"));
    model = steps.build();
    model->reshape(ov::PartialShape{1, height_, width_, 3});
    for (std::size_t i = 0; i < names.size(); ++i) model->output(i).get_tensor().set_names(names[i]);
    request_ = core.compile_model(model, "CPU",
                                  ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                                  ov::hint::inference_precision(ov::element::f32), // the same answers on every machine
                                  ov::inference_num_threads(threads))
                   .create_infer_request();
}

void Network::run(const Picture &picture) {
    Picture resized = resize(picture, width_, height_, interpolation_);
    const ov::Shape shape{1, static_cast<std::size_t>(height_), static_cast<std::size_t>(width_), 3};
    request_.set_input_tensor(ov::Tensor(ov::element::u8, shape, resized.rgb.data()));
    request_.infer();
}

std::vector<Detection> Detector::detect(const Picture &picture, int most) {
    run(picture);
    const Json &heads = manifest_.at("output");
    const int bins = static_cast<int>(heads.at("reg_max").number) + 1;
    std::vector<Candidate> found;
    for (const Json &head : heads.at("heads").array)
        decode_level(output(head.at("scores").string), output(head.at("distances").string),
                     static_cast<int>(head.at("stride").number), bins, found);
    best_first(found, candidates);
    std::vector<Candidate> kept; // greedy suppression
    for (Candidate &one : found) {
        one.box = clipped(one.box, static_cast<float>(width_), static_cast<float>(height_));
        const bool hidden = std::any_of(kept.begin(), kept.end(), [&](const Candidate &better) {
            return overlap(better.box, one.box, 0) > suppression_iou;
        });
        if (!hidden) kept.push_back(one);
        if (kept.size() == kept_boxes) break;
    }
    const double threshold = manifest_.at("thresholds").number_or("detection", default_confidence);
    const float across = static_cast<float>(static_cast<double>(picture.width) / width_);
    const float down = static_cast<float>(static_cast<double>(picture.height) / height_);
    std::vector<Detection> detections;
    for (std::size_t i = 0; i < kept.size() && i < static_cast<std::size_t>(most); ++i) {
        const FloatBox &in = kept[i].box;
        const FloatBox scaled = clipped({in.x1 * across, in.y1 * down, in.x2 * across, in.y2 * down},
                                        static_cast<float>(picture.width), static_cast<float>(picture.height));
        const Box box{static_cast<int>(scaled.x1), static_cast<int>(scaled.y1), static_cast<int>(scaled.x2), static_cast<int>(scaled.y2)};
        if (kept[i].score >= threshold && box.x1 < box.x2 && box.y1 < box.y2) detections.push_back({box, kept[i].score});
    }
    return detections;
}

std::string Embedder::digest() const {
    std::string lines;
    for (const auto &[name, checksum] : manifest_.at("files").object) // in the order of their names
        if (name != unknowns && name.rfind(fewer_bits, 0) != 0) lines += name + " " + checksum.string + "\n";
    return sha256(lines);
}

std::vector<float> Embedder::embed(const Picture &crop) {
    run(crop);
    const ov::Tensor features = output(manifest_.at("output").at("name").string);
    if (features.get_size() != static_cast<std::size_t>(dim())) throw std::runtime_error("the embedder gives another length than its manifest says");
    const float *values = features.data<float>();
    double square = 0;
    for (int i = 0; i < dim(); ++i) square += static_cast<double>(values[i]) * values[i];
    if (!std::isfinite(square)) throw std::runtime_error("the embedding is NaN or infinite");
    const double norm = std::max(std::sqrt(square), epsilon);
    std::vector<float> unit(values, values + dim());
    for (float &one : unit) one = static_cast<float>(one / norm);
    return unit;
}

float overlap(const FloatBox &a, const FloatBox &b, float offset) {
    const auto area = [&](float x1, float y1, float x2, float y2) {
        return std::max(x2 - x1 + offset, 0.0F) * std::max(y2 - y1 + offset, 0.0F);
    };
    const float shared = area(std::max(a.x1, b.x1), std::max(a.y1, b.y1), std::min(a.x2, b.x2), std::min(a.y2, b.y2));
    const float united = area(a.x1, a.y1, a.x2, a.y2) + area(b.x1, b.y1, b.x2, b.y2) - shared;
    return united > 0 ? shared / united : 0;
}
