// Shows openapi.json and asyncapi.json to people. Everything is made with textContent: nothing
// that a document says is ever read as markup.
"use strict";

const state = document.getElementById("state");
const main = document.getElementById("main");
const contents = document.getElementById("contents");

function make(name, text, className) {
    const element = document.createElement(name);
    if (text !== undefined) {
        element.textContent = text;
    }
    if (className) {
        element.className = className;
    }
    return element;
}

function add(parent, ...children) {
    parent.append(...children.filter((child) => child !== null && child !== undefined));
    return parent;
}

function resolve(root, value) {
    let found = value;
    const extra = {};
    while (found && found.$ref) {
        Object.assign(extra, found);
        delete extra.$ref;
        found = found.$ref.slice(2).split("/").reduce((at, key) => at[key], root);
    }
    return { ...found, ...extra };
}

function kindOf(root, schema) {
    const name = schema.$ref ? schema.$ref.split("/").pop() : null;
    const whole = resolve(root, schema);
    if (whole.oneOf) {
        return whole.oneOf.map((one) => kindOf(root, one)).join(" or ");
    }
    if (whole.const !== undefined) {
        return JSON.stringify(whole.const);
    }
    if (whole.enum) {
        return whole.enum.map((one) => JSON.stringify(one)).join(" · ");
    }
    const types = [].concat(whole.type || "any").map((type) =>
        (type === "array" ? `list of ${kindOf(root, whole.items || {})}` : type));
    const limits = [["minLength", "≥"], ["maxLength", "≤"], ["minimum", "≥"], ["maximum", "≤"],
        ["minItems", "≥"], ["maxItems", "≤"]]
        .filter(([key]) => whole[key] !== undefined && Math.abs(whole[key]) < 2 ** 53)
        .map(([key, sign]) => `${sign} ${whole[key]}${key.endsWith("Length") ? " characters" : ""}`);
    return [name && whole.type !== "object" ? name : null, types.join(" or "), ...limits]
        .filter(Boolean).join(", ");
}

function rows(root, schema, prefix, depth, out) {
    const whole = resolve(root, schema);
    const inner = whole.type === "array" ? resolve(root, whole.items || {}) : whole;
    if (inner.oneOf) {
        inner.oneOf.forEach((one) => rows(root, one, prefix, depth, out));
        return out;
    }
    for (const [key, value] of Object.entries(inner.properties || {})) {
        const name = prefix + key;
        const must = (inner.required || []).includes(key);
        out.push([name + (must ? "" : "?"), kindOf(root, value), resolve(root, value).description || ""]);
        if (depth > 0) {
            const one = resolve(root, value);
            const list = [].concat(one.type).includes("array");
            rows(root, value, `${name}${list ? "[]" : ""}.`, depth - 1, out);
        }
    }
    return out;
}

function table(lines) {
    const body = make("tbody");
    for (const [name, kind, about] of lines) {
        const first = add(make("td"), make("code", name));
        add(body, add(make("tr"), first, make("td", kind, "kind"), make("td", about)));
    }
    return add(make("table"), body);
}

function schemaBlock(root, title, schema) {
    const box = add(make("div"), make("h4", title));
    const lines = rows(root, schema, "", 2, []);
    const whole = resolve(root, schema);
    if (whole.description) {
        add(box, make("p", whole.description));
    }
    if (lines.length > 0) {
        add(box, table(lines));
    } else {
        add(box, make("p", kindOf(root, schema)));
    }
    for (const example of whole.examples || []) {
        add(box, make("pre", JSON.stringify(example, null, 2)));
    }
    return box;
}

function entry(id, head, what, fill) {
    const details = make("details");
    details.id = id;
    details.dataset.text = `${head.map((part) => part.textContent).join(" ")} ${what}`.toLowerCase();
    add(details, add(make("summary"), ...head, make("span", what, "what")));
    // Filled when it is opened: there are many, and few are looked at.
    details.addEventListener("toggle", () => {
        if (details.open && details.childElementCount === 1) {
            add(details, add(make("div", undefined, "inside"), ...fill()));
        }
    });
    return details;
}

function operationParts(root, operation) {
    const parts = [];
    if (operation.description) {
        parts.push(make("p", operation.description));
    }
    if (operation.security && operation.security.length === 0) {
        parts.push(make("p", "Needs no token."));
    }
    if (operation.parameters) {
        parts.push(make("h4", "Parameters"));
        parts.push(table(operation.parameters.map((p) => [
            p.name + (p.required ? "" : "?"), `${p.in}, ${kindOf(root, p.schema)}`, p.description || ""])));
    }
    if (operation.requestBody) {
        for (const content of Object.values(operation.requestBody.content)) {
            parts.push(schemaBlock(root, "Body", content.schema));
        }
    }
    const errors = [];
    for (const [status, answer] of Object.entries(operation.responses)) {
        if (Number(status) >= 400) {
            errors.push([status, "", answer.description.replaceAll("`", "")]);
        } else if (!answer.content) {
            parts.push(make("h4", `Answer ${status}`), make("p", "No body."));
        } else {
            for (const content of Object.values(answer.content)) {
                parts.push(schemaBlock(root, `Answer ${status}`, content.schema));
            }
        }
    }
    parts.push(make("h4", "Errors"), table(errors));
    return parts;
}

function section(title, id) {
    const list = make("ul");
    const link = make("a", title);
    link.href = `#${id}`;
    add(contents, add(make("strong"), link), list);
    const heading = make("h2", title);
    heading.id = id;
    const box = add(make("section"), heading);
    add(main, box);
    return (details, label) => {
        const to = make("a", label);
        to.href = `#${details.id}`;
        to.dataset.text = details.dataset.text;
        add(list, add(make("li"), to));
        add(box, details);
    };
}

function showCalls(api) {
    document.getElementById("about").textContent = api.info.description;
    for (const tag of api.tags) {
        const put = section(tag.description || tag.name, `tag-${tag.name}`);
        for (const [path, item] of Object.entries(api.paths)) {
            for (const [method, operation] of Object.entries(item)) {
                if (operation.tags[0] === tag.name) {
                    const head = [make("span", method.toUpperCase(), `method ${method}`), make("code", path)];
                    put(entry(operation.operationId, head, operation.summary,
                        () => operationParts(api, operation)), operation.summary);
                }
            }
        }
    }
}

function showEvents(api) {
    for (const [name, channel] of Object.entries(api.operations)) {
        const put = section(channel.summary, `events-${name}`);
        for (const reference of channel.messages) {
            const message = resolve(api, resolve(api, reference));
            const id = `${name}-${message.name}`;
            put(entry(id, [make("code", message.title || message.name)], message.summary || "",
                () => [schemaBlock(api, "Frame", message.payload)]), message.title || message.name);
        }
    }
}

function search(text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const element of document.querySelectorAll("[data-text]")) {
        const hit = words.every((word) => element.dataset.text.includes(word));
        (element.parentElement.tagName === "LI" ? element.parentElement : element).hidden = !hit;
    }
}

function openTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
        target.open = true;
        target.scrollIntoView();
    }
}

async function load(path) {
    const answer = await fetch(path);
    if (!answer.ok) {
        throw new Error(`${path} answered ${answer.status}`);
    }
    return answer.json();
}

async function start() {
    try {
        const [calls, events] = await Promise.all(
            [load("/api/v1/openapi.json"), load("/api/v1/asyncapi.json")]);
        state.remove();
        showCalls(calls);
        showEvents(events);
        document.getElementById("search").addEventListener("input", (e) => search(e.target.value));
        window.addEventListener("hashchange", openTarget);
        openTarget();
    } catch (error) {
        state.textContent = `The documents could not be loaded: ${error.message}`;
    }
}

start();
