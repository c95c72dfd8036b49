namespace StableDiffusion.Ilgpu.Benchmarks.Serving;

/// <summary>A piece of work that is timed by itself.</summary>
/// <param name="Key">What the protocol calls it: a request, and with <c>_ms</c> behind it the answer's name.</param>
/// <param name="Title">For people to read.</param>
internal sealed record Work(string Key, string Title)
{
    public static Work UNetStep { get; } = new("unet_step", "UNet step");

    public static Work VaeDecode { get; } = new("vae_decode", "VAE decode");

    public static IReadOnlyList<Work> All { get; } = [UNetStep, VaeDecode];

    public string MillisecondsKey => $"{Key}_ms";

    public override string ToString() => Title;
}
