// Label JPEG photographs: predict model.image.onnx photo.jpg …
// Prints a line of JSON for each, after one about the proof. Exit status as rtl's.

#include <onnxruntime_cxx_api.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "card.hpp"
#include "jpeg.hpp"

constexpr int WRONG_MODEL = 5, WRONG_ANSWERS = 6, SOME_FAILED = 7;

std::vector<std::uint8_t> bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("it can't be read");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int main(int count, char** arguments) {
  if (count < 2) {
    std::cerr << "usage: predict MODEL PHOTO…\n";
    return 2;
  }
  const std::string model = arguments[1];
  try {
    const Ort::Env environment(ORT_LOGGING_LEVEL_ERROR, "predict");
    const auto bytes = bytes_of(model);
    Ort::Session session(environment, bytes.data(), bytes.size(), Ort::SessionOptions{});
    const auto card = read_card(session);

    const double difference = proof_difference(session, card);
    const double tolerance = card.at("proof").at("tolerance");
    std::cout << nlohmann::json{{"difference", difference}, {"tolerance", tolerance}} << '\n';
    if (!(difference <= tolerance)) {
      std::cerr << model << ": off by " << difference << " here, allowed " << tolerance << '\n';
      return WRONG_ANSWERS;
    }
    int status = 0;
    for (int i = 2; i < count; ++i) {
      nlohmann::json line{{"file", arguments[i]}};
      try {
        const auto image = read_jpeg(bytes_of(arguments[i]));
        require_resizable(image, card);
        const auto answer = run(session, image);
        line["labels"] = labels(answer, card);
        line["probabilities"] = answer.probabilities;
      } catch (const std::exception& error) {
        line["error"] = error.what();
        status = SOME_FAILED;
      }
      std::cout << line << '\n';
    }
    return status;
  } catch (const std::exception& error) {
    std::cerr << "error: " << model << ": " << error.what() << '\n';
    return WRONG_MODEL;
  }
}
