namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// The tolerances of the reference data's READMEs, relative L2 unless said otherwise: about five times what diffusers' own fp32 shows, and
/// about three times the estimate for fp16 storage.
/// </summary>
internal static class Limits
{
    /// <summary>Of the two tensors that tell a wrong group norm epsilon from rounding.</summary>
    public const double NormTensor = 1e-6;

    /// <summary>Sinusoids and what is computed from them alone: their angles are fp32.</summary>
    public const double TimeTensor = 2e-5;

    public static double Text(bool half) => half ? 3e-3 : 3e-6;

    public static double UNet(bool half) => half ? 4e-3 : 3e-6;

    public static double Decoder(bool half) => half ? 6e-3 : 1e-5;

    public static double Encoder(bool half) => half ? 1.2e-2 : 1e-5;

    /// <summary>
    /// How many times <see cref="StorageRounding"/> an error may be where that is more than the limit: how much a group norm of two values, as small
    /// models have them at their lowest level, magnifies rounding is up to the weights. Three times, as for all estimates; with fp32 sums round too,
    /// about five times as much as storage, whatever the leaf.
    /// </summary>
    public static double OfStorageRounding(bool half) => half ? 3 : 15;

    public static double FinalLatents(bool half) => half ? 2e-2 : 5e-5;

    /// <summary>Decibels of a picture in 0 … 1.</summary>
    public static double Picture(bool half) => half ? 45 : 80;

    public static double SyntheticText(bool half) => half ? 5e-3 : 1e-5;

    public static double SyntheticUNet(bool half) => half ? 5e-3 : 3e-5;

    public static double SyntheticDecoder(bool half) => half ? 5e-3 : 3e-5;

    public static double SyntheticEncoder(bool half) => half ? 5e-3 : 3e-5;

    public static double SyntheticLatents(bool half) => half ? 1e-2 : 1e-4;
}
