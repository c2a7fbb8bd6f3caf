"use strict";
// Everything of the document is put in as text, never as HTML.
const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  element.append(...children);
  return element;
};

const nameOf = (reference) => reference.split("/").pop();

const typeOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return nameOf(schema.$ref);
  const either = schema.oneOf || schema.anyOf || schema.allOf;
  if (either) return either.map(typeOf).join(schema.allOf ? " and " : " or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items) || "anything"}`;
  const types = [].concat(schema.type || "anything").join(" or ");
  return schema.format ? `${types} (${schema.format})` : types;
};

const table = (rows) => {
  const body = make("tbody");
  for (const row of rows) {
    body.append(make("tr", null, make("td", null, make("code", row[0])), make("td", row[1]), make("td", row[2])));
  }
  return make("table", null, body);
};

const fields = (schema, schemas) => {
  if (!schema) return [];
  if (schema.$ref) return fields(schemas[nameOf(schema.$ref)], schemas);
  const parts = (schema.allOf || []).flatMap((part) => fields(part, schemas));
  const own = Object.entries(schema.properties || {}).map(([name, property]) => {
    const must = (schema.required || []).includes(name) ? "" : "?";
    return [name + must, typeOf(property), property.description || ""];
  });
  return parts.concat(own);
};

const call = (path, method, operation, schemas) => {
  const details = make("details");
  const badge = make("span", method.toUpperCase());
  badge.className = "method";
  details.append(make("summary", null, badge, make("code", path), ` ${operation.summary || ""}`));
  if (operation.description) details.append(make("p", operation.description));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    details.append(make("h4", "Parameters"));
    details.append(table(parameters.map((one) => {
      const place = one.in === "query" ? `${typeOf(one.schema)}, in the query` : `${typeOf(one.schema)}, in the path`;
      return [one.name + (one.required ? "" : "?"), place, one.description || ""];
    })));
  }
  const body = operation.requestBody && operation.requestBody.content["application/json"];
  if (body) {
    details.append(make("h4", "Body"), table(fields(body.schema, schemas)));
  }
  for (const [status, response] of Object.entries(operation.responses || {})) {
    const [media, content] = Object.entries(response.content || {})[0] || [];
    const what = content ? `${media}: ${typeOf(content.schema)}` : "no body";
    details.append(make("h4", `${status === "default" ? "Otherwise" : status}: ${what}`));
    const rows = content ? fields(content.schema, schemas) : [];
    if (rows.length && status !== "default") details.append(table(rows));
  }
  details.dataset.words = `${method} ${path} ${operation.summary || ""} ${operation.description || ""}`.toLowerCase();
  return details;
};

const show = (description) => {
  const { paths, info, components } = description;
  document.getElementById("about").textContent = `${info.description || ""} Version ${info.version}.`;
  const sections = new Map();
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = (operation.tags || ["other"])[0];
      if (!sections.has(tag)) sections.set(tag, []);
      sections.get(tag).push(call(path, method, operation, (components || {}).schemas || {}));
    }
  }
  const main = document.getElementById("calls");
  const tags = document.getElementById("tags");
  for (const [tag, calls] of sections) {
    const section = make("section", null, make("h2", tag), ...calls);
    section.id = `tag-${tag}`;
    main.append(section);
    const link = make("a", tag);
    link.href = `#tag-${tag}`;
    tags.append(link);
  }
  document.getElementById("find").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const details of main.querySelectorAll("details")) {
      details.hidden = !words.every((word) => details.dataset.words.includes(word));
    }
    for (const section of main.querySelectorAll("section")) {
      section.hidden = !section.querySelector("details:not([hidden])");
    }
  });
};

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(show)
  .catch((error) => { document.getElementById("about").textContent = `/openapi.json cannot be read: ${error}`; });
