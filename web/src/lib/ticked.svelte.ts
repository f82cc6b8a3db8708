// The concepts that a reader ticked in any list, to compare two of them. A third takes the place of the first.

class Ticked {
  latents = $state.raw<number[]>([]);
  has = (latent: number): boolean => this.latents.includes(latent);
  toggle = (latent: number): void => void (this.latents = this.has(latent) ? this.latents.filter((one) => one !== latent) : [...this.latents, latent].slice(-2));
  clear = (): void => void (this.latents = []);
}

export const ticked = new Ticked();
