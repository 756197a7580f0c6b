// SASLprep (RFC 4013) as PostgreSQL uses it on passwords: what cannot be prepared is used as it is, never refused.
//
// ASCII stays as it is. Of the rest this is a subset: the mappings, composition (NFKC) of Latin, Greek and Cyrillic
// letters, Latin compatibility forms (ligatures, full width), and everything that normalization leaves alone (CJK,
// Hangul syllables, ...). A password with other characters is used as it is, which differs from PostgreSQL only where
// normalization would have changed it: conjoining Hangul, Arabic presentation forms and the like.
#pragma once

#include <string>
#include <string_view>

namespace breakwater::postgres {

std::string saslprep(std::string_view password);

}  // namespace breakwater::postgres
