// A plug-in's process for tests, which answers the first request, that for the plug-in, as no `dunlin` does:
// the path of the plug-in says how.
#include <sys/socket.h>

#include <string>
#include <utility>

#include "backend/pjrt/isolate/channel.h"
#include "backend/pjrt/isolate/message.h"
#include "backend/pjrt/isolate/plugin_process.h"
#include "backend/pjrt/isolate/protocol.h"

namespace dunlin::pjrt {
namespace {

// Of a request to load a plug-in.
std::string path_in(const Message& request) {
  MessageReader fields(request.fields);
  FreedIds freed;
  take(fields, freed);
  return fields.text();
}

void answer(const Channel& line, const Message& request, int raw) {
  const std::string how = path_in(request);
  PluginFacts facts;
  facts.path = how;
  facts.api_version = "0.81";
  MessageWriter whole;
  put(whole.number(1), facts);
  std::string fields = whole.bytes();
  if (how == "too short") fields.pop_back();
  if (how == "too long") fields += '?';
  if (how == "neither an answer nor an error")
    fields = MessageWriter().number(2).number(5).text("?").bytes();
  const std::string nonsense(64, '?');
  if (how == "no message") ::send(raw, nonsense.data(), nonsense.size(), MSG_NOSIGNAL);
  line.send(how == "of another request" ? request.kind + 1 : request.kind, fields, {});
}

}  // namespace
}  // namespace dunlin::pjrt

int main() {
  using namespace dunlin::pjrt;
  const Channel control{dunlin::FileDescriptor(kPluginHostSocket)};
  control.send(kGreetingKind, kGreeting, {});
  dunlin::FileDescriptor socket;
  if (control.receive_descriptor(socket, {}) != Transfer::done) return 1;
  const int raw = socket.get();
  const Channel line(std::move(socket));
  Message request;
  if (line.receive(request, {}) != Transfer::done) return 1;
  answer(line, request, raw);
  dunlin::FileDescriptor none;
  control.receive_descriptor(none, {});  // until the other side ends this process
}
