// Draws /openapi.json and sends what is filled in. No framework, nothing from another host; texts go in as text, never as HTML.
const find = (root, selector) => root.querySelector(selector);
const make = (tag, text, attributes = {}) => {
  const node = Object.assign(document.createElement(tag), attributes);
  if (text) node.textContent = text;
  return node;
};

const description = await (await fetch("/openapi.json")).json();
const schemas = description.components.schemas;
const key = find(document, "#key");
key.value = sessionStorage.getItem("afterclick-key") ?? "";
key.addEventListener("input", () => sessionStorage.setItem("afterclick-key", key.value));
find(document, "#access").addEventListener("submit", (event) => event.preventDefault());
find(document, "#version").textContent = description.info.version;
find(document, "#intro").textContent = description.info.description;

const resolved = (schema) => (schema?.$ref ? schemas[schema.$ref.split("/").pop()] : schema ?? {});

// What a schema asks for, in a few words.
function told(schema) {
  const one = resolved(schema);
  if (one.enum) return one.enum.join(" | ");
  if (one.anyOf) return one.anyOf.map(told).join(" or ");
  if (one.type === "array") return `list of ${told(one.items)}`;
  const bounds = [];
  if (one.minimum !== undefined) bounds.push(`≥ ${one.minimum}`);
  if (one.maximum !== undefined) bounds.push(`≤ ${one.maximum}`);
  if (one.maxLength !== undefined) bounds.push(`≤ ${one.maxLength} characters`);
  return [one.title && one.type === "object" ? one.title : one.type, ...bounds].filter(Boolean).join(", ");
}

// A body to begin with: the fields that must be there.
function sample(schema, depth = 0) {
  const one = resolved(schema);
  if (one.default !== undefined) return one.default;
  if (one.enum) return one.enum[0];
  if (one.anyOf) return sample(one.anyOf.find((kind) => kind.type !== "null"), depth);
  if (one.type === "object" && depth < 4) {
    const fields = one.required ?? Object.keys(one.properties ?? {}).slice(0, 3);
    return Object.fromEntries(fields.map((name) => [name, sample(one.properties[name], depth + 1)]));
  }
  if (one.type === "array") return one.minItems ? [sample(one.items, depth + 1)] : [];
  return { integer: 1, number: 1, boolean: false, null: null }[one.type] ?? "";
}

function field(parameter) {
  const schema = resolved(parameter.schema);
  const choices = schema.enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
  if (!choices) return make("input", "", { placeholder: schema.default ?? "", required: parameter.required });
  const select = make("select");
  select.append(...["", ...choices].map((choice) => make("option", String(choice), { value: String(choice) })));
  return select;
}

function rowOf(parameter, inputs) {
  const row = make("tr");
  const input = field(parameter);
  input.id = `p${inputs.length}-${Math.random().toString(36).slice(2)}`;
  const name = make("td");
  name.append(make("label", parameter.name + (parameter.required ? " *" : ""), { htmlFor: input.id }));
  const value = make("td");
  value.append(input, make("div", parameter.description ?? told(parameter.schema), { className: "quiet" }));
  row.append(name, value);
  inputs.push({ parameter, input });
  return row;
}

function requestOf(path, method, inputs, type, text) {
  let address = path;
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value !== "") query.set(parameter.name, input.value);
  }
  const headers = key.value ? { "X-Afterclick-Key": key.value } : {};
  if (type) headers["Content-Type"] = type;
  const asked = query.size ? `${address}?${query}` : address;
  return { address: asked, options: { method: method.toUpperCase(), headers, body: type ? text : undefined } };
}

async function send(node, { address, options }) {
  const answer = find(node, ".answer");
  const status = find(answer, ".status");
  const started = performance.now();
  answer.hidden = false;
  try {
    const response = await fetch(address, options);
    const text = await response.text();
    status.textContent = `${response.status} ${response.statusText}`;
    status.className = `status ${response.ok ? "good" : "bad"}`;
    find(answer, ".took").textContent = `${Math.round(performance.now() - started)} ms`;
    const isJson = /json$/.test((response.headers.get("content-type") ?? "").split(";")[0]);
    find(answer, "pre").textContent = isJson && text && !/ndjson/.test(response.headers.get("content-type"))
      ? JSON.stringify(JSON.parse(text), null, 2) : text;
  } catch (error) {
    status.textContent = `no answer: ${error.message}`;
    status.className = "status bad";
  }
}

function curl({ address, options }) {
  const quote = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const headers = Object.entries(options.headers).map(([name, value]) => `-H ${quote(`${name}: ${value}`)}`);
  const body = options.body === undefined ? [] : [`--data-binary ${quote(options.body)}`];
  return ["curl", `-X ${options.method}`, ...headers, ...body, quote(location.origin + address)].join(" ");
}

function drawn(path, method, operation) {
  const node = find(document, "#operation").content.cloneNode(true).firstElementChild;
  find(node, ".method").textContent = method.toUpperCase();
  find(node, ".path").textContent = path;
  find(node, ".summary").textContent = operation.summary;
  const inputs = [];
  find(node, "tbody").append(...(operation.parameters ?? []).map((parameter) => rowOf(parameter, inputs)));
  const types = Object.entries(operation.requestBody?.content ?? {});
  const choice = find(node, ".type");
  const text = find(node, "textarea");
  if (types.length) {
    find(node, ".body").hidden = false;
    choice.append(...types.map(([type]) => make("option", type)));
    const begin = sample(types[0][1].schema);
    text.value = types[0][0].includes("ndjson") ? JSON.stringify(begin) : JSON.stringify(begin, null, 2);
    text.setAttribute("aria-label", "Body");
  }
  const request = () => requestOf(path, method, inputs, types.length ? choice.value : null, text.value);
  find(node, "form").addEventListener("submit", (event) => {
    event.preventDefault();
    send(node, request());
  });
  find(node, ".copy").addEventListener("click", () => navigator.clipboard.writeText(curl(request())));
  for (const [status, response] of Object.entries(operation.responses)) {
    const schema = Object.values(response.content ?? {})[0]?.schema;
    const name = schema?.$ref ? ` (${schema.$ref.split("/").pop()})` : "";
    find(node, ".responses").append(make("li", `${status}: ${response.description}${name}`));
  }
  return node;
}

const list = find(document, "#operations");
const all = [];
for (const [path, methods] of Object.entries(description.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const node = drawn(path, method, operation);
    all.push({ node, words: `${method} ${path} ${operation.summary}`.toLowerCase() });
    list.append(node);
  }
}
find(document, "#search").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase().split(/\s+/);
  for (const { node, words } of all) node.hidden = !wanted.every((word) => words.includes(word));
});
document.body.dataset.drawn = "true";
