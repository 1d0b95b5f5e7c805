/**
 * The package as others get it: packed, judged, installed into an empty project, and used there as README and guides say.
 *
 * No suite of vitest, because it installs: `npm run package-check`.
 */
import { Socket } from "engine.io-client"
import assert from "node:assert/strict"
import { execFileSync, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gzipSync } from "node:zlib"
import { rolldown } from "rolldown"

const root = fileURLToPath(import.meta.resolve("../../"))
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly version: string
  readonly exports: Readonly<Record<string, string>>
}
const folder = mkdtempSync(join(tmpdir(), "package-check-"))

const run = (cwd: string, command: string, ...args: ReadonlyArray<string>): string =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

const write = (name: string, content: string | object) =>
  writeFileSync(join(folder, name), typeof content === "string" ? content : JSON.stringify(content))

const step = async (name: string, body: () => void | Promise<void>): Promise<void> => {
  const start = performance.now()
  await body()
  console.log(`ok  ${name} (${((performance.now() - start) / 1000).toFixed(1)} s)`)
}

/** A name of each subpath, used as a namespace. */
const modules = Object.keys(manifest.exports).filter((path) => /^\.\/[A-Z]/.test(path)).map((path) => path.slice(2))
  // It is for those who have `socket.io`, and not in the barrel.
  .filter((name) => name !== "SocketIO")

/** Those that the barrel has: not what needs a package that may be missing, or few need. */
const barrel = modules.filter((name) => !["EngineIOClient", "EngineIOCluster"].includes(name))

const readme = readFileSync(join(root, "README.md"), "utf8")
const program = /```ts\n([^]*?)```/.exec(readme)![1]!
const guide = readFileSync(join(root, "docs/getting-started.md"), "utf8")
const page = /## A page\n[^]*?```ts\n([^]*?)```/.exec(guide)![1]!
const install = /^npm install (effect-engine\.io .*)$/m.exec(readme)![1]!.split(" ")
const tsconfig = JSON.parse(/```json\n(\{\s*"compilerOptions"[^]*?)```/.exec(guide)![1]!) as {
  readonly compilerOptions: object
}

let tarball = ""

const pack = () => {
  const printed = run(root, "npm", "pack", "--ignore-scripts", "--json", "--pack-destination", folder)
  const [{ filename, files }] = JSON.parse(printed) as [
    { readonly filename: string; readonly files: ReadonlyArray<{ readonly path: string }> }
  ]
  tarball = join(folder, filename)
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
  const expected = [
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "bench/README.md",
    "package.json",
    "test/WIRE.md",
    ...readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
      .filter((name) => name.includes("."))
      .map((name) => `docs/${name}`),
    ...sources.map((name) => `src/${name}`),
    ...sources.flatMap((name) =>
      [".js", ".js.map", ".d.ts", ".d.ts.map"].map((end) => `dist/${name.replace(/\.ts$/, end)}`)
    )
  ]
  assert.deepEqual(files.map(({ path }) => path).sort(), expected.sort(), "a dist that is not of this src? remove it")
}

const judge = () => {
  run(root, join(root, "node_modules/.bin/publint"), "run", tarball, "--strict")
  run(root, join(root, "node_modules/.bin/attw"), tarball, "--profile", "esm-only")
}

const installPackage = () => {
  run(folder, "npm", "init", "-y")
  run(folder, "npm", "pkg", "set", "type=module")
  const packages = install.map((name) => name === "effect-engine.io" ? tarball : name)
  const tools = ["engine.io-client", "@types/node", "typescript@5.9"]
  run(folder, "npm", "install", "--no-audit", "--no-fund", "--prefer-offline", ...packages, ...tools)
  const copies = readdirSync(join(folder, "node_modules"), { recursive: true, encoding: "utf8" })
    .filter((name) => /(?:^|node_modules\/)(?:effect|@effect\/platform-node)\/package\.json$/.test(name))
  assert.deepEqual(copies.sort(), ["@effect/platform-node/package.json", "effect/package.json"])
}

const typeCheck = () => {
  write("app.ts", program)
  write("page.ts", `${page}export { page }\n`)
  write(
    "subpaths.ts",
    [
      ...modules.map((name) => `import * as ${name}_ from "effect-engine.io/${name}"`),
      "export { EngineIOTest } from \"effect-engine.io/testing\"",
      `import { ${barrel.join(", ")} } from "effect-engine.io"`,
      ...barrel.map((name) => `export const is${name}: typeof ${name} = ${name}_`)
    ].join("\n")
  )
  const newest = join(root, "node_modules/typescript/bin/tsc")
  const oldest = join(folder, "node_modules/typescript/bin/tsc")
  for (
    const [compiler, moduleResolution] of [[newest, "nodenext"], [newest, "bundler"], [oldest, "nodenext"]] as const
  ) {
    const module = moduleResolution === "bundler" ? "esnext" : moduleResolution
    write("tsconfig.json", {
      compilerOptions: { ...tsconfig.compilerOptions, module, moduleResolution },
      files: ["app.ts", "page.ts", "subpaths.ts"]
    })
    run(folder, process.execPath, compiler)
  }
}

const load = () => {
  write(
    "load.mjs",
    `import assert from "node:assert/strict"
import { createRequire } from "node:module"
assert.ok("route" in await import("effect-engine.io/SocketIO"))
for (const name of ${JSON.stringify(modules)}) {
  assert.equal(name in await import("effect-engine.io"), !["EngineIOClient", "EngineIOCluster"].includes(name))
  assert.ok(Object.keys(await import("effect-engine.io/" + name)).length > 0 || name === "Transport")
  assert.ok(createRequire(import.meta.url)("effect-engine.io/" + name))
}
assert.ok("connect" in (await import("effect-engine.io/testing")).EngineIOTest)
for (const path of ["internal/session/session", "internal/session/session.js", "dist/index.js", "src/index.ts"]) {
  await assert.rejects(import("effect-engine.io/" + path), { code: "ERR_PACKAGE_PATH_NOT_EXPORTED" })
}
`
  )
  run(folder, process.execPath, "load.mjs")
}

/** Who uses one function gets no server with it. */
const shake = async () => {
  write("shake.js", "import { Packet } from \"effect-engine.io\"\nconsole.log(Packet.encode({ type: \"ping\" }))\n")
  const bundle = await rolldown({ input: join(folder, "shake.js"), platform: "node", logLevel: "silent" })
  const { output: [{ code, imports, moduleIds }] } = await bundle.generate()
  const ours = moduleIds.filter((id) => id.includes("/effect-engine.io/")).map((id) => id.replace(/.*\/dist\//, ""))
  assert.deepEqual(ours.filter((id) => !/^(?:Packet|internal\/protocol\/\w+)\.js$/.test(id)), [])
  assert.deepEqual(imports, [])
  write("shaken.mjs", code)
  assert.equal(run(folder, process.execPath, "shaken.mjs"), "2\n")
}

/** The client has no server with it, nothing of Node, and the size that the guide says. */
const bundleClient = async () => {
  const sizeOf = async (name: string, code: string) => {
    write(name, code)
    const bundle = await rolldown({ input: join(folder, name), platform: "browser", logLevel: "silent" })
    const { output: [{ code: minified, imports, moduleIds }] } = await bundle.generate({ minify: true })
    assert.deepEqual(imports, [])
    const ours = moduleIds.filter((id) => id.includes("/effect-engine.io/")).map((id) => id.replace(/.*\/dist\//, ""))
    assert.deepEqual(
      ours.filter((id) => !/^(?:EngineIOClient|Transport|internal\/(?:client|protocol)\/\w+)\.js$/.test(id)),
      []
    )
    return { minified: minified.length, gzipped: gzipSync(minified).length }
  }
  const sizes = {
    "engine.io-client": await sizeOf("stock.js", "export { Socket } from \"engine.io-client\""),
    "effect/socket": await sizeOf("socket.js", "export { layerWebSocket } from \"effect/socket/Socket\""),
    EngineIOClient: await sizeOf("client.js", "export * from \"effect-engine.io/EngineIOClient\"")
  }
  console.table(sizes)
  assert.ok(sizes.EngineIOClient.gzipped < 41_000)
}

const serve = async () => {
  const change = (text: string, old: string, changed: string) => {
    assert.ok(text.includes(old), `the program of the front page has no "${old}"`)
    return text.replace(old, changed)
  }
  const served = change(change(program, "serve(echo", "serve(Layer.merge(page, echo)"), "port: 3000", "port: 0")
  write("app.ts", `import { page } from "./page.ts"\n${served}`)
  const server = spawn(process.execPath, ["app.ts"], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] })
  const ended = new Promise((resolve) => server.once("close", resolve))
  try {
    let output = ""
    const port = await new Promise<string>((resolve, reject) => {
      server.stdout.on("data", (data) => {
        output += String(data)
        const [, port] = /Listening on http:\/\/\S+:(\d+)/.exec(output) ?? []
        if (port !== undefined) resolve(port)
      })
      ended.then((code) => reject(new Error(`the program ended with ${String(code)}: ${output}`)))
    })
    for (const [path, text] of [["/", "<script type=\"module\">"], ["/engine.io.js", "export{"]] as const) {
      assert.ok((await (await fetch(`http://localhost:${port}${path}`)).text()).includes(text))
    }
    const client = new Socket(`http://localhost:${port}`)
    const echo = await new Promise((resolve, reject) => {
      client.on("open", () => client.send("hello"))
      client.on("message", resolve)
      client.on("error", reject)
    })
    assert.equal(echo, "hello")
    client.close()
  } finally {
    server.kill("SIGTERM")
    await ended
  }
}

try {
  await step("packed with what belongs in it", pack)
  await step("publint and attw have nothing to say", judge)
  await step("installed into an empty project", installPackage)
  await step("type-checked with TypeScript 7, nodenext and bundler, and with 5.9", typeCheck)
  await step("every subpath loads, nothing internal does", load)
  await step("a bundle has only what it uses", shake)
  await step("the client is small, and runs without Node", bundleClient)
  await step("the program of the front page runs, with the page of its recipe", serve)
  await step("npx effect-engine.io", () => {
    assert.equal(run(folder, "npx", "effect-engine.io", "--version"), `effect-engine.io v${manifest.version}\n`)
  })
} finally {
  rmSync(folder, { recursive: true, force: true })
}
