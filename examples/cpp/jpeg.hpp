// From the bytes of a JPEG to upright RGB, with libjpeg, as docs/card.md wants it.
#pragma once

#include <cstddef>
#include <cstdio>

#include <jpeglib.h>
#include <jerror.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "card.hpp"

// Return the EXIF orientation that a JPEG's APP1 marker has, 1 where there is none.
inline int orientation(const jpeg_saved_marker_ptr first) {
  for (auto* marker = first; marker; marker = marker->next) {
    const auto* data = marker->data;
    const std::size_t length = marker->data_length;
    if (length < 14 || std::memcmp(data, "Exif\0\0", 6) != 0) continue;
    const auto* tiff = data + 6;
    const std::size_t size = length - 6;
    const bool little = tiff[0] == 'I';
    const auto number = [&](std::size_t at, int bytes) -> std::size_t {
      std::size_t value = 0;
      for (int i = 0; i < bytes; ++i)
        if (at + i < size) value |= std::size_t{tiff[at + i]} << 8 * (little ? i : bytes - 1 - i);
      return value;
    };
    const std::size_t directory = number(4, 4), entries = number(directory, 2);
    for (std::size_t entry = 0; entry < entries; ++entry) {
      const std::size_t at = directory + 2 + 12 * entry;
      if (at + 12 > size) break;
      if (number(at, 2) != 0x0112) continue;
      const auto value = number(at + 8, 2);
      return value >= 2 && value <= 8 ? static_cast<int>(value) : 1;
    }
  }
  return 1;
}

// Return an image rotated and mirrored as an EXIF orientation of 1…8 says.
inline Image upright(const Image& image, int orientation) {
  if (orientation == 1) return image;
  const bool turned = orientation >= 5;
  Image result{turned ? image.height : image.width, turned ? image.width : image.height, {}};
  result.rgb.resize(image.rgb.size());
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 ||
                          orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 ||
                          orientation == 7;
  for (std::int64_t y = 0; y < result.height; ++y)
    for (std::int64_t x = 0; x < result.width; ++x) {
      const std::int64_t across = turned ? y : x, down = turned ? x : y;
      const std::int64_t source_x = from_right ? image.width - 1 - across : across;
      const std::int64_t source_y = from_below ? image.height - 1 - down : down;
      std::memcpy(&result.rgb[(y * result.width + x) * 3],
                  &image.rgb[(source_y * image.width + source_x) * 3], 3);
    }
  return result;
}

namespace jpeg_detail {

[[noreturn]] inline void raise(j_common_ptr info) {
  char message[JMSG_LENGTH_MAX];
  info->err->format_message(info, message);
  throw std::runtime_error(message);
}

// Other damage is read past, as rtl does; of a file that ends early the rest would be grey.
inline void refuse_an_early_end(j_common_ptr info, int) {
  if (info->err->msg_code == JWRN_JPEG_EOF) raise(info);
}

struct Decoder {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  Decoder() {
    info.err = jpeg_std_error(&errors);
    errors.error_exit = raise;
    errors.emit_message = refuse_an_early_end;
    jpeg_create_decompress(&info);
  }
  ~Decoder() { jpeg_destroy_decompress(&info); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
};

}  // namespace jpeg_detail

// Return the upright RGB image of a JPEG file; raises std::runtime_error for what is none.
inline Image read_jpeg(const std::vector<std::uint8_t>& bytes) {
  jpeg_detail::Decoder decoder;
  auto& info = decoder.info;
  jpeg_mem_src(&info, bytes.data(), bytes.size());
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&info, TRUE);
  if (std::int64_t{info.image_width} * info.image_height > MOST_PIXELS)
    throw std::runtime_error("more than 178,956,970 pixels");
  const bool inks = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  info.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  const std::size_t channels = info.output_components;
  std::vector<std::uint8_t> row(info.output_width * channels);
  Image image{info.output_width, info.output_height, {}};
  image.rgb.reserve(row.size() / channels * 3 * info.output_height);
  while (info.output_scanline < info.output_height) {
    auto* line = row.data();
    jpeg_read_scanlines(&info, &line, 1);
    for (std::size_t at = 0; at < row.size(); at += channels)
      for (int c = 0; c < 3; ++c)  // inks are stored inverted: 255 is none
        image.rgb.push_back(static_cast<std::uint8_t>(
            inks ? (row[at + c] * row[at + 3] + 127) / 255 : row[at + c]));
  }
  const int exif = orientation(info.marker_list);  // before libjpeg drops its markers
  jpeg_finish_decompress(&info);
  return upright(image, exif);
}
