/** The page, on the client of Socket.IO that the server brings. */
const { io } = globalThis
const socket = io()

const find = (selector, root = document) => root.querySelector(selector)
const answer = find("#answer")
const buttons = new Map()

/** An answer is data: a success, or a failure that says which. */
const explain = ({ _tag, failure, success }) => {
  if (_tag === "Success") return success === 1 ? "You are the first." : `You and ${success - 1} more.`
  return failure._tag === "SameVote" ? `You have ${failure.choice.toLowerCase()} already.` : failure.message
}

const vote = async (choice) => {
  try {
    answer.textContent = explain(await socket.timeout(5000).emitWithAck("vote", choice))
  } catch {
    answer.textContent = "No answer. Try again."
  }
}

const buttonFor = (choice) => {
  const known = buttons.get(choice)
  if (known !== undefined) return known
  const button = find("#choice").content.cloneNode(true).firstElementChild
  find(".name", button).textContent = choice
  button.addEventListener("click", () => vote(choice))
  find("#choices").append(button)
  buttons.set(choice, button)
  return button
}

socket.on("changed", (tally) => {
  const most = Math.max(1, ...Object.values(tally))
  for (const [choice, count] of Object.entries(tally)) {
    const button = buttonFor(choice)
    find(".count", button).textContent = count
    find(".bar", button).style.setProperty("--share", count / most)
  }
})

socket.on("people", (count) => {
  find("#people").textContent = count === 1 ? "you alone" : `${count} people`
})

const showTransport = () => {
  find("#transport").textContent = socket.connected ? socket.io.engine.transport.name : "connecting"
}
socket.on("connect", () => {
  showTransport()
  socket.io.engine.on("upgrade", showTransport)
})
socket.on("disconnect", showTransport)
