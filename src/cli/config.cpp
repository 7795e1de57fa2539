// nll config: every key with default, range and help, out of the declarations themselves.
#include "src/config/config.h"

#include "src/cli/verbs.h"

namespace nll {

void add_config(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("config", "List every config key with its default, range and meaning");
  auto markdown = std::make_shared<bool>(false);
  verb->add_flag("--markdown", *markdown, "As the table of docs/config.md");
  verb->callback([&invocation, markdown] {
    invocation.run = [markdown] {
      print(describe_config(*markdown));
      return Exit::done;
    };
  });
}

}  // namespace nll
