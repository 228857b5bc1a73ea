// A first look at an AOT image: whether its sections are all there, in order and in bounds.
//
// WAMR's loader reads the sections themselves. It takes a list of them in any length, and images
// that were never relocated, whose code it would run from the bytes at hand.
// Layout: WAMR's core/iwasm/compilation/aot_emit_aot_file.c.

#include <string.h>

#include "internal.h"

#define HEADER_BYTE_LENGTH 8
#define TARGET_FILE_TYPE_OFFSET 4
#define RELOCATABLE_FILE_TYPE 1
// Of the target's section: types and flags, and a name of 16 bytes.
#define TARGET_BYTE_LENGTH 48

static uint32_t read_u32(const uint8_t *bytes) {
  uint32_t value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

static const char *section_objection(
    uint32_t type, const uint8_t *body, uint32_t byte_length) {
  if (type == AOT_SECTION_TYPE_TARGET_INFO) {
    uint16_t file_type;
    if (byte_length != TARGET_BYTE_LENGTH) return "its target has a wrong length";
    memcpy(&file_type, body + TARGET_FILE_TYPE_OFFSET, sizeof file_type);
    if (file_type != RELOCATABLE_FILE_TYPE) return "it is not relocatable";
  }
  if (type == AOT_SECTION_TYPE_TEXT) {
    if (byte_length < 4 || read_u32(body) > byte_length - 4) return "its constants are cut off";
  }
  if (type == AOT_SECTION_TYPE_CUSTOM) {
    if (byte_length < 4) return "a section is cut off";
    if (read_u32(body) == AOT_CUSTOM_SECTION_NATIVE_SYMBOL) return "it is not relocatable";
  }
  return NULL;
}

const char *iwh_image_objection(const uint8_t *image, size_t byte_length) {
  if (byte_length < HEADER_BYTE_LENGTH || byte_length > UINT32_MAX / 2) {
    return "it has a wrong length";
  }
  if (read_u32(image) != AOT_MAGIC_NUMBER) return "it is no AOT image";
  if (read_u32(image + 4) != AOT_CURRENT_VERSION) return "it is of another version of WAMR";
  uint32_t expected = AOT_SECTION_TYPE_TARGET_INFO;
  size_t position = HEADER_BYTE_LENGTH;
  while (position < byte_length) {
    position = (position + 3) & ~(size_t)3;
    if (position > byte_length || byte_length - position < 8) return "it is cut off";
    uint32_t type = read_u32(image + position), length = read_u32(image + position + 4);
    position += 8;
    if (length > byte_length - position) return "it is cut off";
    bool in_order = expected <= AOT_SECTION_TYPE_RELOCATION ? type == expected
                                                            : type == AOT_SECTION_TYPE_CUSTOM;
    if (!in_order) return "its sections are not in order";
    const char *objection = section_objection(type, image + position, length);
    if (objection) return objection;
    expected++;
    position += length;
  }
  return expected > AOT_SECTION_TYPE_RELOCATION ? NULL : "it is cut off";
}
