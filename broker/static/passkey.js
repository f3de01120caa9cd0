// Lets the buttons for passkeys work. A form with data-passkey="make" or "show" holds in data-options what the broker asks the device for;
// the device's answer goes into the form's field marked data-passkey-answer, and the form is sent like any other. Without WebAuthn the buttons stay hidden.
const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
const letters = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const read = (options) => ({
  ...options,
  challenge: bytes(options.challenge),
  ...(options.user && { user: { ...options.user, id: bytes(options.user.id) } }),
  ...(options.excludeCredentials && { excludeCredentials: options.excludeCredentials.map((each) => ({ ...each, id: bytes(each.id) })) }),
});

const written = (credential) => {
  const response = { clientDataJSON: letters(credential.response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) response[name] = letters(credential.response[name]);
  }
  return JSON.stringify({ id: credential.id, rawId: letters(credential.rawId), type: credential.type, response, clientExtensionResults: {} });
};

const said = {
  InvalidStateError: "This device has a passkey for you already.",
  NotAllowedError: "Nothing was done: the device was asked and did not agree, or it took too long. Try again.",
};

const ask = async (form) => {
  const problem = form.querySelector("[data-passkey-problem]");
  problem.textContent = "";
  try {
    const publicKey = read(JSON.parse(form.dataset.options));
    const making = form.dataset.passkey === "make";
    const credential = await (making ? navigator.credentials.create({ publicKey }) : navigator.credentials.get({ publicKey }));
    form.querySelector("[data-passkey-answer]").value = written(credential);
    form.submit();
  } catch (error) {
    problem.textContent = said[error.name] ?? "This browser could not use a passkey here. Use another way.";
  }
};

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  const button = form.querySelector("[data-passkey-button]");
  button.hidden = false;
  button.addEventListener("click", () => {
    if (form.dataset.passkey !== "make" || form.reportValidity()) ask(form);
  });
}
