namespace StableDiffusion.Ilgpu.Sampling;

internal sealed class NoiseSchedule;
