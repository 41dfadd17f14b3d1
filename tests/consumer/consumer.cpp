// The smallest program that uses the installed library.
#include <thinkey/generate.h>

#include <iostream>

int main(int argc, char** argv) {
  std::cout << thinkey::CacheSpec::parse("snapkv:25%+think:0.4,form=paper").to_string() << '\n';
  if (argc < 2) return 0;
  thinkey::Session session(thinkey::Model::load(argv[1]));
  std::cout << thinkey::generate(session, session.model().tokenize(argv[2]), {}).text << '\n';
}
