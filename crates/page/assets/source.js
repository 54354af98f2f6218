// Where images come from: the server, or the page itself where it is a report.
let url = () => undefined;

/** Sets the function `(run, key, size)` that gives an image's URL; `size` is undefined, "thumbnail" or "strip". */
export const setImages = (images) => { url = images; };

export const imageUrl = (run, key, size) => url(run, key, size);
