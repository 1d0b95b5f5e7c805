/**
 * How the house is built: who may import what, and what every public name must have. `CONTRIBUTING.md` says it in words.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const root = fileURLToPath(import.meta.resolve("../"))
const source = join(root, "src")

/** One line that imports or re-exports. */
interface Import {
  readonly from: string
  /** A file of `src`, where the module is one. */
  readonly file: string | undefined
  /** Gone when the program runs. */
  readonly isType: boolean
}

interface Module {
  /** The path below `src`. */
  readonly name: string
  readonly text: string
  readonly imports: ReadonlyArray<Import>
}

const withoutComments = (text: string): string => text.replace(/\/\*[^]*?\*\//g, "").replace(/(?<!["'`:])\/\/.*$/gm, "")

const importsOf = (name: string, text: string): Array<Import> =>
  Array.from(
    withoutComments(text).matchAll(/^(?:import|export)\s(type\s)?(?:[^"';]*?\sfrom\s)?"([^"]+)"/gm),
    ([, type, from]) => ({
      from: from!,
      file: from!.startsWith(".") ? relative(source, resolve(source, dirname(name), from!)) : undefined,
      isType: type !== undefined
    })
  )

const modules: ReadonlyArray<Module> = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .sort()
  .map((name) => {
    const text = readFileSync(join(source, name), "utf8")
    return { name, text, imports: importsOf(name, text) }
  })

const isBarrel = ({ name }: Module): boolean => name === "index.ts" || name === "testing.ts"
const publicModules = modules.filter((module) => !module.name.startsWith("internal/") && !isBarrel(module))

// ---------------------------------------------------------------------------------------------------------------------
// floors
// ---------------------------------------------------------------------------------------------------------------------

interface Floor {
  readonly level: number
  readonly owns: (name: string) => boolean
  /** Modules of `effect` that the floors below do not have. */
  readonly effect: ReadonlyArray<RegExp>
  /** Modules that only types come from. */
  readonly effectTypes?: ReadonlyArray<RegExp>
}

const pure = new Set(["CloseReason.ts", "HandshakeError.ts", "Packet.ts", "Payload.ts", "Transport.ts"])

const floors: Readonly<Record<string, Floor>> = {
  protocol: {
    level: 1,
    owns: (name) => name.startsWith("internal/protocol/") || pure.has(name),
    effect: [/^(Result|Option|Data|Schema|SchemaIssue|Duration)$/, /^encoding\//],
    effectTypes: [/^Cause$/]
  },
  transport: {
    level: 2,
    owns: (name) => name.startsWith("internal/transport/"),
    effect: [/^(Effect|Queue|Scope|Deferred|Latch)$/]
  },
  session: {
    level: 3,
    owns: (name) => name.startsWith("internal/session/") || ["Socket.ts", "TypedSocket.ts"].includes(name),
    effect: [
      /^(Ref|PubSub|MutableList|Fiber\w*|Clock|Stream|Cause|Exit|Equal|Hash|Function|Inspectable)$/,
      /^socket\/Socket$/
    ],
    effectTypes: [/^(Context|Array)$/, /^rpc\/RpcSerialization$/]
  },
  server: {
    level: 4,
    owns: (name) => name.startsWith("internal/server/") || ["ClusterRooms.ts", "Rooms.ts"].includes(name),
    effect: [
      /^(Context|Layer|Config|HashMap|RcMap|Metric|Tracer|References|LogLevel|Scheduler)$/,
      /^(http|socket)\//,
      /^crypto\/SecureRandom$/
    ],
    effectTypes: [/^net\/NetAddress$/]
  },
  node: { level: 5, owns: (name) => name.startsWith("internal/node/"), effect: [/^/] },
  facade: { level: 6, owns: (name) => ["EngineIO.ts", "EngineIOCluster.ts", "index.ts"].includes(name), effect: [/^/] },
  // What the tests of an application have in the place of the edge.
  testing: {
    level: 5,
    owns: (name) => name === "testing.ts" || name.startsWith("testing/") || name.startsWith("internal/testing/"),
    effect: [/^/]
  },
  // The server of another package on this engine: an edge of its own.
  socketIO: {
    level: 7,
    owns: (name) => name === "SocketIO.ts" || name.startsWith("internal/socketio/"),
    effect: [/^/]
  },
  // The client's own house, in the same street.
  client: {
    level: 9,
    owns: (name) => name.startsWith("internal/client/") || name === "EngineIOClient.ts",
    effect: [/^/]
  },
  // A program that uses the house.
  cli: { level: 10, owns: (name) => name.startsWith("internal/cli/"), effect: [/^/] }
}

const floorOf = (name: string): Floor =>
  Object.values(floors).find(({ owns }) => owns(name)) ?? assert.fail(`${name} is on no floor`)

/** Every import that breaks `rule`, as text. */
const offences = (rule: (module: Module, floor: Floor, it: Import) => boolean): Array<string> =>
  modules.flatMap((module) =>
    module.imports.filter((it) => !rule(module, floorOf(module.name), it)).map((it) => `${module.name} -> ${it.from}`)
  )

describe("the floors", () => {
  it("are known for every module", () => {
    assert.isAbove(modules.length, 30)
    for (const { imports, name } of modules) {
      assert.deepStrictEqual(Object.keys(floors).filter((floor) => floors[floor]!.owns(name)).length, 1, name)
      for (const { file } of imports) if (file !== undefined) assert.include(modules.map(({ name }) => name), file)
    }
  })

  it("import nothing from above", () => {
    assert.deepStrictEqual(
      offences((_, { level }, { file }) => file === undefined || floorOf(file).level <= level),
      []
    )
  })

  it("give the command line no way in", () => {
    assert.deepStrictEqual(
      offences(({ name }, { level }, { file }) =>
        level !== floors["cli"]!.level || file === undefined || !file.startsWith("internal/") ||
        dirname(file) === dirname(name)
      ),
      []
    )
  })

  it("have nothing of the test kit in them, nor the test kit of the Node edge", () => {
    const isKit = (name: string) => floors["testing"]!.owns(name)
    assert.deepStrictEqual(
      offences(({ name }, _, { file }) =>
        file === undefined || (isKit(name) ? !floors["node"]!.owns(file) : !isKit(file))
      ),
      []
    )
  })

  // It is loaded by pages.
  it("give the client nothing but the protocol", () => {
    assert.deepStrictEqual(
      offences((_, { level }, { file }) =>
        level !== floors["client"]!.level || file === undefined || [1, level].includes(floorOf(file).level)
      ),
      []
    )
  })

  it("leave the Node edge to the façade, and to Socket.IO", () => {
    assert.deepStrictEqual(
      offences(({ name }, floor, { file }) =>
        file === undefined || !floors["node"]!.owns(file) || floors["node"]!.owns(name) || floor === floors["facade"] ||
        floor === floors["socketIO"]
      ),
      []
    )
  })

  it("take from effect what their work needs", () => {
    const allowed = (floor: Floor, name: string, isType: boolean) =>
      Object.values(floors).some(({ effect, effectTypes = [], level }) =>
        level <= floor.level && (isType ? [...effect, ...effectTypes] : effect).some((it) => it.test(name))
      )
    assert.deepStrictEqual(
      offences((_, floor, { from, isType }) =>
        !from.startsWith("effect/") || allowed(floor, from.slice("effect/".length), isType)
      ),
      []
    )
  })

  it("take nothing from outside but at the edge", () => {
    assert.deepStrictEqual(
      offences(({ name }, { level }, { file, from, isType }) =>
        file !== undefined || from.startsWith("effect/") ||
        level === floors["node"]!.level ||
        (level >= floors["socketIO"]!.level && (level !== floors["client"]!.level || from === "engine.io-client")) ||
        (name === "EngineIO.ts" && isType && from.startsWith("node:"))
      ),
      []
    )
  })

  // Nor its type: below the edge, bytes are those of the language.
  it("know Node's `Buffer` at the edge alone", () => {
    const found = modules.filter(({ name, text }) =>
      floorOf(name).level < floors["node"]!.level && /\bBuffer\b/.test(withoutComments(text))
    )
    assert.deepStrictEqual(found.map(({ name }) => name), [])
  })

  // Who has no use for Socket.IO need not have it.
  it("take nothing but types from `socket.io`", () => {
    assert.deepStrictEqual(
      offences((_, __, { from, isType }) => isType || !/^(?:socket|engine)\.io(?!-client)/.test(from)),
      []
    )
  })

  it("import modules of effect, never its barrel", () => {
    assert.deepStrictEqual(offences((_, __, { from }) => from !== "effect" && from !== "effect/http"), [])
  })

  // Of types too: whoever reads one file of a circle has to read them all.
  it("have no circle", () => {
    const circles: Array<string> = []
    const done = new Set<string>()
    const visit = (name: string, path: ReadonlyArray<string>): void => {
      if (path.includes(name)) {
        circles.push([...path.slice(path.indexOf(name)), name].join(" -> "))
        return
      }
      if (done.has(name)) return
      for (const { file } of modules.find((module) => module.name === name)!.imports) {
        if (file !== undefined) visit(file, [...path, name])
      }
      done.add(name)
    }
    for (const { name } of modules) visit(name, [])
    assert.deepStrictEqual(circles, [])
  })

  // What one transport can, or does in its own way, stands in its contract, for the next one too.
  it("ask no transport for its name or class to decide something", () => {
    const asked = new RegExp(
      "\\b(?:instanceof|as) \\w+(?:Transport|Candidate)\\b" +
        "|(?:\\.name|\\btransport)\\s*[!=]==?\\s*\"|\"\\s*[!=]==?\\s*(?:[\\w.()]+\\.name|[\\w.()]*\\btransport)\\b"
    )
    // A request says the name of one, and is a request for that one.
    const found = modules.filter(({ name, text }) =>
      floorOf(name) !== floors["transport"] && name !== "internal/server/verify.ts" && asked.test(withoutComments(text))
    )
    assert.deepStrictEqual(found.map(({ name }) => name), [])
  })

  it("leave a session's transport to the session", () => {
    const found = modules.filter(({ name, text }) =>
      floorOf(name).level > floors["session"]!.level && /\bsession\.transport\b/.test(withoutComments(text))
    )
    assert.deepStrictEqual(found.map(({ name }) => name), [])
  })

  // A socket may be something else than a session of this process.
  it("let `Socket` reach a session by its operations alone", () => {
    const own = new Set(["Socket.ts", "internal/session/effectSocket.ts"])
    assert.deepStrictEqual(
      offences(({ name }, _, { file }) =>
        !own.has(name) || file === "internal/session/model.ts" || !file?.startsWith("internal/session/") ||
        own.has(file)
      ),
      []
    )
  })

  // What Effect may change without a word is watched by `test/effect.test.ts`.
  it("touch what is not public of Effect, or low-level, in one file each", () => {
    const homes = [
      "internal/session/effectFields.ts",
      "internal/server/context.ts",
      "internal/node/effectServer.ts",
      "internal/node/straight.ts"
    ]
    const inside = new RegExp(
      "\\b(?:scheduleRunning|takers|awaiters|upgradeState|CurrentRequestState|ClientAbort|writeContinue\\?|_observers|_stack|currentOpCount)" +
        "|\\.(?:capacity|dispatcher|slide)\\b|\\.state\\._tag|\\.offers\\b|\\.messages\\.(?:length|head|tail)|MutableList"
    )
    const found = modules.filter(({ name, text }) => !homes.includes(name) && inside.test(withoutComments(text)))
    assert.deepStrictEqual(found.map(({ name }) => name), [])
    for (const name of homes) assert.match(modules.find((module) => module.name === name)!.text, inside, name)
  })

  it("let the façade hand everything on, with no logic of its own", () => {
    const logic = /\bfunction\b|\b(?:if|for|while|switch|try|throw|let)\b|\?\?|=> \{/
    assert.notMatch(withoutComments(modules.find(({ name }) => name === "EngineIO.ts")!.text), logic)
  })

  it("leave it to the registry to find a session by its id", () => {
    const found = modules.filter(({ text }) =>
      /\bnew Map<(?:SocketId|string), (?:Place<)?Session>/.test(withoutComments(text))
    )
    assert.deepStrictEqual(found.map(({ name }) => name), ["internal/server/registry.ts"])
  })

  it("do not go through the barrel", () => {
    assert.deepStrictEqual(offences((_, __, { file }) => file !== "index.ts"), [])
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// files and classes
// ---------------------------------------------------------------------------------------------------------------------

describe("files", () => {
  it("have names of their own", () => {
    // Not by their case alone: some file systems do not tell those apart.
    const names = modules.map(({ name }) => basename(name).toLowerCase())
    assert.deepStrictEqual(names.filter((name, index) => names.indexOf(name) !== index), [])
  })

  it("have 500 lines at most", () => {
    assert.deepStrictEqual(modules.filter(({ text }) => text.split("\n").length > 501).map(({ name }) => name), [])
  })
})

describe("the session's floor", () => {
  // A session is a record, and functions work on it. Where a class keeps a state to itself, a figure says what that saves.
  it("hides no state in classes, but where a comment on the class has measured why", () => {
    const hidden = /^ +(?:(?:private|protected) (?!readonly |get |set )|#)\w+[?!]?[:; =]/m
    const found = modules.filter(({ name }) => floorOf(name) === floors["session"]).flatMap(({ name, text }) =>
      Array.from(text.matchAll(/^(?:export )?(?:abstract )?class (\w+)[^]*?^\}/gm))
        .filter(({ 0: body, index }) =>
          hidden.test(withoutComments(body)) && !/\d\.\d\d/.test(commentBefore(text, index))
        )
        .map(([, className]) => `${name}: ${className}`)
    )
    assert.deepStrictEqual(found, [])
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// public names
// ---------------------------------------------------------------------------------------------------------------------

const declaration = (name = "\\w+") =>
  new RegExp(`^export (?:declare )?(?:const|let|class|interface|type|namespace|function) (${name})\\b`, "gm")

/** The doc comment that ends right before `index`. */
const commentBefore = (text: string, index: number): string => {
  const before = text.slice(0, index).trimEnd()
  return before.endsWith("*/") ? before.slice(before.lastIndexOf("/**")) : ""
}

/** Every public name of a module with its doc comment, wherever it is declared. */
const publicNames = ({ imports, name, text }: Module): Array<readonly [name: string, comment: string]> => {
  const declared = Array.from(
    text.matchAll(declaration()),
    (match) => [match[1]!, commentBefore(text, match.index)] as const
  )
  const files = imports.flatMap(({ file }) => file ?? [])
  const passedOn = Array.from(
    text.matchAll(/^export (?:type )?\{([^}]*)\}/gm),
    ([, list]) =>
      Array.from(list!.matchAll(/(\/\*\*[^]*?\*\/\s*)?(?:type )?(\w+)\s*(?:,|$)/g), ([, comment, exported]) => {
        if (comment !== undefined) return [exported!, comment] as const
        for (const file of files) {
          const other = modules.find(({ name }) => name === file)!.text
          const match = declaration(exported).exec(other)
          if (match !== null) return [exported!, commentBefore(other, match.index)] as const
        }
        return assert.fail(`${name} passes on ${exported}, which is not found`)
      })
  ).flat()
  return [...declared, ...passedOn]
}

describe("public modules", () => {
  it("say in a header what they are for", () => {
    for (const { name, text } of [...publicModules, ...modules.filter(isBarrel)]) {
      assert.match(text, /^\/\*\*\n \* [^]+?\n \* @since \d+\.\d+\.\d+\n \*\//, name)
    }
  })

  it("document every name, with its category and the version it came with", () => {
    const names = publicModules.flatMap((module) =>
      publicNames(module).map(([name, comment]) => [`${module.name}: ${name}`, comment] as const)
    )
    assert.isAbove(names.length, 70)
    const undocumented = names.filter(([, comment]) =>
      !/@category \w/.test(comment) || !/@since \d+\.\d+\.\d+/.test(comment) ||
      !/^\/\*\*\s*(?:\* )?(?!@)\S/.test(comment.replace(/\n\s*\*\s*/, "\n * "))
    )
    assert.deepStrictEqual(undocumented.map(([name]) => name), [])
  })

  it("are all in the package's exports, and in the barrel but for what needs another package", () => {
    const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { exports: object }
    const namesIn = (folder: string) =>
      publicModules.filter(({ name }) => dirname(name) === folder).map(({ name }) => basename(name, ".ts"))
    assert.deepStrictEqual(
      Object.keys(exports).sort(),
      [".", "./package.json", "./testing", ...namesIn(".").map((name) => `./${name}`)].sort()
    )
    for (const [name, folder] of [["index.ts", "."], ["testing.ts", "testing"]] as const) {
      const barrel = modules.find((module) => module.name === name)!.text
      assert.deepStrictEqual(
        Array.from(barrel.matchAll(/^export \* as (\w+) from/gm), ([, name]) => name!),
        // What needs an optional package, or few need, is not in the barrel, which would need it too.
        namesIn(folder).filter((name) => !["EngineIOClient", "EngineIOCluster", "SocketIO"].includes(name))
      )
    }
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// any
// ---------------------------------------------------------------------------------------------------------------------

describe("the type any", () => {
  const isAny = /(?<![\w"'`.])any(?![\w"'`:])/

  it("does not occur in the source", () => {
    const found = modules.filter(({ text }) => isAny.test(code(text))).map(({ name }) => name)
    assert.deepStrictEqual(found, [])
  })

  it("does not occur in the declarations of public modules", () => {
    const out = mkdtempSync(join(tmpdir(), "effect-engine.io-"))
    try {
      const tsc = fileURLToPath(import.meta.resolve("typescript/package.json")).replace("package.json", "bin/tsc")
      execFileSync(process.execPath, [tsc, "-p", source, "--emitDeclarationOnly", "--outDir", out])
      // The constructor of effect's Data.TaggedError has it in a constraint, where it lets nothing through.
      const effects = "new <A extends Record<string, any> = {}>"
      const found = readdirSync(out, { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".d.ts") && !name.startsWith("internal/"))
        .flatMap((name) =>
          code(readFileSync(join(out, name), "utf8").replaceAll(effects, "")).split("\n")
            .filter((line) => isAny.test(line)).map((line) => `${name}: ${line.trim()}`)
        )
      assert.deepStrictEqual(found, [])
    } finally {
      rmSync(out, { recursive: true })
    }
  }, 60_000)

  /** The text without comments and strings. */
  const code = (text: string): string => withoutComments(text).replace(/"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g, "\"\"")
})
