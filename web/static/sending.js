// Sends pictures over lines that are slow or break off: few in a request, shrunk if wanted, and again what did not arrive.

// The networks look at objects of 224 pixels a side, local features at 400: an object of a fifth of the photo keeps them all.
const LONGEST_PX = 2048;
const SMALL_BYTES = 700_000; // not worth the loss of a second compression
const QUALITY = 0.92;
const REQUEST_BYTES = 3_000_000; // some seconds of a phone's line: what breaks off is soon sent again
const REQUEST_FILES = 8;
const TRIES = 9; // over some two minutes
const LONGEST_PAUSE_MS = 30_000;

// The file, or a smaller JPEG of a large photo. The browser turns it upright on the way and makes its colours sRGB; what it
// cannot read, or what may be transparent or move, goes as it is.
export async function shrunk(file) {
  if (file.size <= SMALL_BYTES || !/^image\/(jpeg|hei[cf])$/.test(file.type)) return file;
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  if (!picture) return file;
  const scale = Math.min(1, LONGEST_PX / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const paper = canvas.getContext("2d");
  paper.imageSmoothingQuality = "high";
  paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  const blob = scale < 1 ? await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY)) : null;
  return blob && blob.size < file.size ? new File([blob], file.name.replace(/\.hei[cf]$/i, ".jpg"), { type: "image/jpeg" }) : file;
}

// Gives lists of [file, what is sent of it]: as many as one small request may have, prepared one after the other.
export async function* batches(files, { maxFiles, maxBytes, shrink }) {
  let batch = [];
  let bytes = 0;
  for (const file of files) {
    const data = shrink ? await shrunk(file) : file;
    const weight = data.size + 1000; // the form's own lines
    if (batch.length && (bytes + weight > Math.min(REQUEST_BYTES, maxBytes) || batch.length >= Math.min(REQUEST_FILES, maxFiles))) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push([file, data]);
    bytes += weight;
  }
  if (batch.length) yield batch;
}

// What `send` resolves to; repeated after growing pauses, or at once when the line is back, while only the line or a busy
// service is in the way. `waiting` gets how many seconds it waits.
export async function persistently(send, waiting) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await send();
    } catch (failure) {
      if (!failure.passing || tries >= TRIES) throw failure;
      const pause = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** (tries - 1));
      waiting(Math.ceil(pause / 1000));
      await new Promise((wake) => {
        const timer = setTimeout(wake, pause);
        addEventListener("online", () => { clearTimeout(timer); wake(); }, { once: true });
      });
    }
  }
}
