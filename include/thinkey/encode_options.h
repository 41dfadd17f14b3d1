// How a text becomes token ids.
#pragma once

namespace thinkey {

struct EncodeOptions {
  bool add_special = true;     // BOS and EOS as the model's file says
  bool parse_special = false;  // recognise control tokens such as <|eot_id|> written in the text
};

}  // namespace thinkey
