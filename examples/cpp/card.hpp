// The card of a model file and its proof; docs/card.md describes both.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

struct Image {
  std::int64_t width, height;
  std::vector<std::uint8_t> rgb;  // rows from the top, three values a pixel
};

constexpr std::int64_t MOST_PIXELS = 178'956'970;  // of an image, stored and resized, as in rtl

struct Answer {
  std::vector<float> probabilities, logits;  // in the order of the card's classes
};

// Return the card of an open file; one of another version, or of another kind of input, is refused.
inline nlohmann::json read_card(const Ort::Session& session) {
  Ort::AllocatorWithDefaultOptions allocator;
  const auto text =
      session.GetModelMetadata().LookupCustomMetadataMapAllocated("rtl.card", allocator);
  if (!text) throw std::runtime_error("no card: rtl did not export this file");
  const auto card = nlohmann::json::parse(text.get());
  if (card.at("schema_version") != 1) throw std::runtime_error("its card is of a newer version");
  if (card.at("input") != "image") throw std::runtime_error("export it with --input image");
  return card;
}

// Return what the file answers for one image of any size.
inline Answer run(Ort::Session& session, const Image& image) {
  const std::array<std::int64_t, 3> shape{image.height, image.width, 3};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto* values = const_cast<std::uint8_t*>(image.rgb.data());  // onnxruntime only reads them
  const auto input = Ort::Value::CreateTensor<std::uint8_t>(memory, values, image.rgb.size(),
                                                            shape.data(), shape.size());
  const std::array<const char*, 1> names{"image"};
  const std::array<const char*, 2> outputs{"probabilities", "logits"};
  const auto found =
      session.Run(Ort::RunOptions{}, names.data(), &input, 1, outputs.data(), outputs.size());
  const auto numbers = [](const Ort::Value& value) {
    const auto* first = value.GetTensorData<float>();
    return std::vector<float>(first, first + value.GetTensorTypeAndShapeInfo().GetElementCount());
  };
  return {numbers(found[0]), numbers(found[1])};
}

// Refuse an image that the graph would make too large: it resizes the short side, then crops.
inline void require_resizable(const Image& image, const nlohmann::json& card) {
  const auto& preprocessing = card.at("preprocessing");
  if (preprocessing.at("mode") == "squash") return;
  const std::int64_t side = preprocessing.at("resize_size");
  const auto [shorter, longer] = std::minmax(image.width, image.height);
  if (side * (side * longer / shorter) > MOST_PIXELS)
    throw std::runtime_error("resized it would have more than 178,956,970 pixels");
}

// Return one of the four generated images (the formula waves-1), in the centre of a black square of
// which the graph crops just that.
inline Image generated(std::int64_t n, std::int64_t size, std::int64_t side) {
  const std::int64_t border = side - size;
  std::int64_t first = border / 2;
  if (border % 2) first += first % 2;  // a half is rounded to even
  Image image{side, side, std::vector<std::uint8_t>(side * side * 3)};
  for (std::int64_t y = 0; y < size; ++y)
    for (std::int64_t x = 0; x < size; ++x)
      for (std::int64_t c = 0; c < 3; ++c)
        image.rgb[((first + y) * side + first + x) * 3 + c] = static_cast<std::uint8_t>(
            (x * (3 + n) + y * (5 + 2 * n) + x * y / 16 + 85 * c) % 256);
  return image;
}

// Return how far the runtime of this device is off the logits in the card, relative to the largest.
inline double proof_difference(Ort::Session& session, const nlohmann::json& card) {
  const auto& preprocessing = card.at("preprocessing");
  const std::int64_t size = preprocessing.at("size");
  const bool squash = preprocessing.at("mode") == "squash";
  const std::int64_t side = squash ? size : preprocessing.at("resize_size").get<std::int64_t>();
  double difference = 0, largest = 1;
  const auto expected = card.at("proof").at("logits").get<std::vector<std::vector<double>>>();
  for (std::size_t n = 0; n < expected.size(); ++n) {
    const auto logits = run(session, generated(static_cast<std::int64_t>(n), size, side)).logits;
    if (logits.size() != expected[n].size()) return INFINITY;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double off = std::abs(expected[n][i] - logits[i]);
      if (!(off <= difference)) difference = off;  // NaN is a difference too
      largest = std::max(largest, std::abs(expected[n][i]));
    }
  }
  return difference / largest;
}

// Return the labels of an image: the likeliest class, or with several a photograph all that are
// likely enough; there may be none.
inline std::vector<std::string> labels(const Answer& answer, const nlohmann::json& card) {
  const auto classes = card.at("classes").get<std::vector<std::string>>();
  if (card.value("task", "single-label") == "single-label") {
    const auto best = std::max_element(answer.logits.begin(), answer.logits.end());
    return {classes.at(best - answer.logits.begin())};
  }
  const bool given = card.contains("threshold") && !card.at("threshold").is_null();
  const double threshold = given ? card.at("threshold").get<double>() : 0.5;
  std::vector<std::string> found;
  for (std::size_t i = 0; i < classes.size(); ++i)
    if (answer.probabilities.at(i) >= threshold) found.push_back(classes[i]);
  return found;
}
