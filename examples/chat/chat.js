/**
 * The page's half of the chat: one connection that is taken up again when it is lost, and what is seen of it.
 *
 * `?transports=polling` (or `websocket`) connects over that alone; `#Room` is the room to go to.
 */
import { Socket } from "./engine.io.js"

const $ = (id) => document.getElementById(id)
const wanted = new URLSearchParams(location.search).get("transports")
const transports = wanted ? wanted.split(",") : ["polling", "websocket"]

/** What the function gives, or nothing where it throws. */
const attempt = (f) => {
  try {
    return f()
  } catch {
    return undefined
  }
}

// --- what is known ---------------------------------------------------------------------------------------------------

const state = {
  // Storage can be denied.
  name: attempt(() => localStorage.getItem("name")) ?? "",
  room: attempt(() => decodeURIComponent(location.hash.slice(1)).trim().slice(0, 24)) || "Lobby",
  joined: false,
  me: undefined,
  people: new Map(),
  typists: new Map(),
  rooms: [],
  unread: 0
}

/** One's own words by their keys, whatever connection they went over, and whether they have come back from the room. */
const mine = new Map()

// --- connection ------------------------------------------------------------------------------------------------------

let socket
let attempts = 0
let wake

const send = (request) => {
  if (socket?.readyState === "open") socket.send(JSON.stringify(request))
}

const join = () => send({ _tag: "Join", name: state.name, room: state.room })

const connect = () => {
  clearTimeout(wake)
  $("countdown").textContent = ""
  const mine = new Socket({ transports, closeOnBeforeunload: true })
  socket = mine
  if (attempts === 0) showConnection("connecting", "connecting")
  mine.on("open", () => {
    if (socket !== mine) return
    if (attempts > 0) note("Connected again")
    attempts = 0
    $("outage").hidden = true
    setOnce($("outage-text"), "")
    showTransport()
    if (state.joined) join()
    measure()
  })
  // One that was given up finishes its upgrade before it closes.
  mine.on("upgrade", () => socket === mine && showTransport())
  mine.on("message", (text) => receive(JSON.parse(text)))
  mine.on("close", () => {
    if (socket === mine) comeBack()
  })
}

/** Waits twice as long after every failure, at most ten seconds, and never as long as everybody else. */
const comeBack = () => {
  const delay = Math.min(10_000, 500 * 2 ** attempts) * (0.75 + Math.random() / 2)
  if (attempts === 0) note("Connection lost")
  attempts++
  socket = undefined
  showConnection("away", "offline")
  showTyping()
  // Shown before it says something, or screen readers stay silent.
  $("outage").hidden = false
  setOnce(
    $("outage-text"),
    navigator.onLine
      ? "The server does not answer. What you write is sent when it is back."
      : "You are offline. What you write is sent when you are back."
  )
  const until = Date.now() + delay
  const tick = () => {
    const left = until - Date.now()
    if (left <= 0) return connect()
    $("countdown").textContent = `Next try in ${Math.ceil(left / 1000)} s`
    wake = setTimeout(tick, Math.min(left, 250))
  }
  tick()
}

const measure = () => send({ _tag: "Echo", sent: performance.now() })
setInterval(measure, 2000)
addEventListener("online", () => socket === undefined && connect())
// A connection that is cut off says nothing by itself. A server on this very machine is back with the next try.
addEventListener("offline", () => {
  const lost = socket
  if (lost === undefined) return
  comeBack()
  lost.close()
})
$("retry").addEventListener("click", () => socket === undefined && connect())

// --- notices of the server -------------------------------------------------------------------------------------------

const receive = (notice) => handlers[notice._tag]?.(notice)

const handlers = {
  Rooms: ({ rooms }) => {
    state.rooms = rooms
    showRooms()
  },
  Welcome: ({ people, room, words, you }) => {
    const isNew = state.shown !== room
    state.me = you
    state.room = state.shown = room
    state.people = new Map(people.map((person) => [person.id, person]))
    state.typists.clear()
    if (isNew) {
      lines.replaceChildren()
      for (const [key, { isBack }] of mine) if (!isBack) mine.delete(key)
    }
    for (const each of words) say(each)
    if (isNew) note(people.length === 1 ? `You are the first in ${room}` : `You joined ${room}`)
    else sayAgain(words)
    showRooms()
    showPeople()
    showTyping()
    document.title = title()
    if (location.hash !== `#${encodeURIComponent(room)}`) history.replaceState(null, "", `#${encodeURIComponent(room)}`)
  },
  Joined: ({ person }) => {
    state.people.set(person.id, person)
    showPeople()
    note(`${person.name} joined`)
  },
  Moved: ({ person }) => {
    state.people.set(person.id, person)
    showPeople()
  },
  Left: ({ person }) => {
    state.people.delete(person.id)
    state.typists.delete(person.id)
    showPeople()
    showTyping()
    note(`${person.name} left`)
  },
  Typing: ({ person, typing }) => {
    if (person.id === state.me?.id) return
    clearTimeout(state.typists.get(person.id)?.timer)
    if (typing) {
      const timer = setTimeout(() => handlers.Typing({ person, typing: false }), 6000)
      state.typists.set(person.id, { name: person.name, timer })
    } else state.typists.delete(person.id)
    showTyping()
  },
  Said: ({ words }) => {
    state.typists.delete(words.person)
    showTyping()
    say(words)
    if (document.hidden && words.person !== state.me?.id) {
      state.unread++
      document.title = title()
    }
  },
  Echo: ({ sent }) => {
    const milliseconds = performance.now() - sent
    $("latency").textContent = milliseconds < 10 ? `${milliseconds.toFixed(1)} ms` : `${Math.round(milliseconds)} ms`
    $("latency").hidden = false
  },
  Problem: ({ text }) => note(text)
}

/**
 * Says again what the room has not had, or does not know any more: a new server knows nothing, and what the old one was
 * told last may not have reached everybody. Pages tell by the key what they have.
 */
const sayAgain = (remembered) => {
  const keys = new Set(remembered.map(({ key }) => key))
  for (const [key, { isBack, room, text, time }] of mine) {
    if (room === state.room && !keys.has(key) && (!isBack || Date.now() - time < 60_000)) {
      send({ _tag: "Say", key, text })
    }
  }
}

// --- what is seen ----------------------------------------------------------------------------------------------------

const setOnce = (element, text) => {
  if (element.textContent !== text) element.textContent = text
}

const element = (name, className, text) => {
  const it = document.createElement(name)
  if (className) it.className = className
  if (text !== undefined) it.textContent = text
  return it
}

const title = () => `${state.unread > 0 ? `(${state.unread}) ` : ""}${state.room} · Chat`

const hue = (name) => Array.from(name).reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7)

const initials = (name) => name.split(/\s+/).slice(0, 2).map((part) => Array.from(part)[0] ?? "").join("").toUpperCase()

const face = (name, it = element("span", "face")) => {
  it.textContent = initials(name)
  it.style.setProperty("--hue", hue(name))
  it.setAttribute("aria-hidden", "true")
  return it
}

const showConnection = (kind, text) => {
  $("connection").dataset.state = kind
  document.body.toggleAttribute("data-away", kind === "away")
  setOnce($("transport"), text)
  if (kind === "away" || kind === "connecting") $("latency").hidden = true
}

const showTransport = () => {
  const { name } = socket.transport
  showConnection(name, { polling: "HTTP polling", websocket: "WebSocket", webtransport: "WebTransport" }[name] ?? name)
}

const showRooms = () => {
  setOnce($("title"), state.joined ? state.room : "Chat")
  const names = new Map(state.rooms.map(({ name, people }) => [name, people]))
  if (!names.has(state.room)) names.set(state.room, 0)
  const focused = document.activeElement?.dataset.room
  $("rooms").replaceChildren(...Array.from(names, ([name, people]) => {
    const button = element("button")
    button.type = "button"
    button.dataset.room = name
    button.append(element("span", "", name))
    if (people > 0) {
      const count = element("span", "quiet", String(people))
      count.append(element("span", "hidden", people === 1 ? " person" : " people"))
      button.append(" ", count)
    }
    if (name === state.room && state.joined) button.setAttribute("aria-current", "true")
    const item = element("li")
    item.append(button)
    return item
  }))
  if (focused !== undefined) $("rooms").querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus()
  if ($("welcome").open) showChoices(Array.from(names.keys()))
}

const showChoices = (names) => {
  if ($("choices").childElementCount === names.length) return
  const chosen = new FormData($("enter")).get("room") ?? state.room
  $("choices").replaceChildren(...names.map((name) => {
    const label = element("label")
    const input = element("input")
    Object.assign(input, { type: "radio", name: "room", value: name, checked: name === chosen })
    label.append(input, name)
    return label
  }))
}

const showPeople = () => {
  const people = Array.from(state.people.values()).sort((a, b) => a.name.localeCompare(b.name))
  setOnce($("people-count"), String(people.length))
  $("people").replaceChildren(...people.map(({ id, name, transport }) => {
    const item = element("li")
    const person = element("div")
    person.append(element("p", "name", id === state.me?.id ? `${name} (you)` : name), element("small", "", transport))
    item.append(face(name), person)
    return item
  }))
  setOnce($("my-name"), state.name)
  $("rename").hidden = !state.joined
}

const showTyping = () => {
  const names = Array.from(state.typists.values(), ({ name }) => name)
  const [first, second] = names
  setOnce(
    $("typing"),
    socket === undefined || names.length === 0
      ? ""
      : names.length === 1
      ? `${first} is typing…`
      : names.length === 2
      ? `${first} and ${second} are typing…`
      : "Several people are typing…"
  )
}

const log = $("log")
const lines = $("lines")
const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80

/** Whether the log is read at its end, where it stays then, also when a keyboard or a notice takes some of its height. */
let follows = true
let height = log.clientHeight
const toEnd = () => {
  log.scrollTop = log.scrollHeight
}
new ResizeObserver(() => {
  height = log.clientHeight
  if (follows) toEnd()
}).observe(log)

const append = (item, always = false) => {
  lines.append(item)
  if (follows || always) toEnd()
  else $("newest").hidden = false
}

const note = (text) => append(element("li", "event", text))

/** What may be the address of a page: no control, and no mark that turns the direction of text. */
const address = /https?:\/\/[^\s\p{C}<>"]+/giu

/** The address without what belongs to the sentence around it: its last marks, and brackets that it does not open. */
const trimmed = (url) => {
  const last = url.at(-1)
  const opening = { ")": "(", "]": "[", "}": "{" }[last]
  const isAround = opening === undefined
    ? ".,;:!?'".includes(last)
    : url.split(last).length > url.split(opening).length
  return isAround ? trimmed(url.slice(0, -1)) : url
}

/** The text in pieces, the addresses in it as links. */
const linked = (text) => {
  const pieces = []
  let end = 0
  for (const { 0: found, index } of text.matchAll(address)) {
    const url = trimmed(found)
    if (!URL.canParse(url)) continue
    const link = element("a", "", url)
    Object.assign(link, { href: url, target: "_blank", rel: "noopener noreferrer" })
    pieces.push(text.slice(end, index), link)
    end = index + url.length
  }
  return [...pieces, text.slice(end)]
}

/** Shows words, or marks as said what was waiting. */
const say = ({ id, key, name, person, text, time }) => {
  if (id !== undefined && log.querySelector(`[data-id="${CSS.escape(id)}"]`)) return
  const known = log.querySelector(`[data-key="${CSS.escape(key)}"]`)
  const item = known ?? $("words").content.firstElementChild.cloneNode(true)
  if (id !== undefined) {
    item.dataset.id = id
    item.classList.remove("waiting")
    if (mine.has(key)) mine.get(key).isBack = true
  }
  if (known) return
  const isMine = person === state.me?.id || mine.has(key)
  const previous = lines.lastElementChild
  item.dataset.key = key
  item.dataset.person = person
  item.classList.toggle("mine", isMine)
  item.classList.toggle("waiting", id === undefined)
  item.classList.toggle("follows", previous?.dataset.person === person && time - previous.dataset.time < 120_000)
  item.dataset.time = time
  item.style.setProperty("--hue", hue(name))
  face(name, item.querySelector(".face"))
  item.querySelector("b").textContent = isMine ? "You" : name
  const at = new Date(time)
  item.querySelector("time").dateTime = at.toISOString()
  item.querySelector("time").textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
  item.querySelector(".said").append(...linked(text))
  append(item, isMine)
}

// --- what one does ---------------------------------------------------------------------------------------------------

const text = $("text")
let typingUntil = 0

const setTyping = (typing) => {
  const now = Date.now()
  if (typing ? now < typingUntil : typingUntil === 0) return
  typingUntil = typing ? now + 3000 : 0
  send({ _tag: "Typing", typing })
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault()
  const words = text.value.trim()
  if (words === "" || !state.joined) return
  const key = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`
  const time = Date.now()
  mine.set(key, { room: state.room, text: words, time, isBack: false })
  say({ key, name: state.name, person: state.me?.id ?? "me", text: words, time })
  send({ _tag: "Say", key, text: words })
  typingUntil = 0
  text.value = ""
  text.focus()
})

text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
  event.preventDefault()
  $("composer").requestSubmit()
})

text.addEventListener("input", () => setTyping(text.value.trim() !== ""))
text.addEventListener("blur", () => setTyping(false))

const go = (room) => {
  closeMenu()
  text.focus()
  if (room === state.shown) return
  state.room = room
  join()
  showRooms()
}

$("rooms").addEventListener("click", (event) => {
  const button = event.target.closest("button")
  if (button) go(button.dataset.room)
})

$("new-room").addEventListener("submit", (event) => {
  event.preventDefault()
  const room = $("room-name").value.trim()
  if (room === "") return
  $("room-name").value = ""
  go(room)
})

const openMenu = (open) => {
  $("side").classList.toggle("open", open)
  $("menu").setAttribute("aria-expanded", String(open))
  $("talk").inert = open
}
const closeMenu = () => openMenu(false)

$("menu").addEventListener("click", () => openMenu(!$("side").classList.contains("open")))
$("scrim").addEventListener("click", closeMenu)
$("skip").addEventListener("click", (event) => {
  // The fragment of the address is the room.
  event.preventDefault()
  closeMenu()
  text.focus()
})
matchMedia("(max-width: 720px)").addEventListener("change", closeMenu)
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !$("side").classList.contains("open")) return
  closeMenu()
  $("menu").focus()
})

const askName = () => {
  $("name").value = state.name
  $("welcome").showModal()
  $("choices").replaceChildren()
  showRooms()
  $("name").select()
}

$("rename").addEventListener("click", askName)
// Escape closes the dialog only for who has a name already.
$("welcome").addEventListener("cancel", (event) => state.joined || event.preventDefault())

$("enter").addEventListener("submit", (event) => {
  const name = $("name").value.trim()
  if (name === "") {
    event.preventDefault()
    $("name").value = ""
    $("name").reportValidity()
    return
  }
  state.name = name
  state.room = new FormData($("enter")).get("room") ?? state.room
  state.joined = true
  attempt(() => localStorage.setItem("name", name))
  join()
  showRooms()
  closeMenu()
  requestAnimationFrame(() => text.focus())
})

log.addEventListener("scroll", () => {
  // A new height moves the end, and not the reader.
  if (log.clientHeight === height) follows = isAtEnd()
  if (follows) $("newest").hidden = true
})

$("newest").addEventListener("click", toEnd)

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return
  state.unread = 0
  document.title = title()
})

connect()
askName()
