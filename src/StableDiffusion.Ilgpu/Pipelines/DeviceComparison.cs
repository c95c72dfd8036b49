namespace StableDiffusion.Ilgpu;

/// <summary>One thing that a pipeline computes, on one device, beside what another device made of the same inputs.</summary>
/// <param name="Device">The device.</param>
/// <param name="Component">Text encoder, UNet, decoder, or the whole picture.</param>
/// <param name="Seconds">The shortest of some runs; of a picture that takes a second or more, its one run.</param>
/// <param name="Ratio">Seconds over those of the first device.</param>
/// <param name="RelativeL2">|x - y| / |y| of all values, with y the first device's; null for the picture.</param>
/// <param name="Psnr">Of the picture's bytes, in decibels; infinite where they are equal; null for the other components.</param>
/// <param name="MaxDifference">The largest difference of two bytes of the picture; null for the other components.</param>
internal sealed record ComparedComponent(
    ComputeDevice Device, string Component, double Seconds, double Ratio, double? RelativeL2, double? Psnr, int? MaxDifference);

/// <summary>
/// Runs the same model and request on several devices. Every device's text encoder, UNet and decoder get what the first one's got, so that
/// each component is compared by itself; the pictures are made from the prompt on, so that they show what becomes of all differences.
/// </summary>
internal static class DeviceComparison
{
    /// <param name="options">The model; it is loaded anew for each device, one at a time.</param>
    /// <param name="devices">The first one is what the others are compared with.</param>
    /// <param name="request">One picture.</param>
    /// <param name="progress">Told which device is next.</param>
    /// <param name="cancellationToken">Stops within one step, or two that take less than a tenth of a second.</param>
    /// <exception cref="StableDiffusionException">The model or a device cannot be used.</exception>
    public static IEnumerable<ComparedComponent> Run(
        ModelOptions options, IEnumerable<ComputeDevice> devices, GenerationRequest request, Action<ComputeDevice>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ComponentResults? first = null;
        foreach (var device in devices)
        {
            progress?.Invoke(device);
            ComponentResults results;
            using (var pipeline = StableDiffusionPipeline.Load(options, device, cancellationToken))
            {
                results = pipeline.RunComponents(request, first, cancellationToken);
            }

            first ??= results;
            foreach (var row in Rows(device, results, first))
            {
                yield return row;
            }
        }
    }

    internal static ComparedComponent[] Rows(ComputeDevice device, ComponentResults results, ComponentResults first) =>
    [
        Values(device, "text encoder", results.Text, first.Text),
        Values(device, "UNet, one step", results.UNet, first.UNet),
        Values(device, "decoder", results.Decoder, first.Decoder),
        new(device, "picture", results.Picture.Seconds, results.Picture.Seconds / first.Picture.Seconds, null,
            Psnr(results.Picture.Values, first.Picture.Values), results.Picture.Values.Zip(first.Picture.Values, (a, b) => Math.Abs(a - b)).Max()),
    ];

    private static double Psnr(byte[] a, byte[] b)
    {
        var error = a.Zip(b, (x, y) => (double)(x - y) * (x - y)).Sum() / a.Length;
        return 10 * Math.Log10(255 * 255 / error);
    }

    private static double RelativeL2(float[] a, float[] b) =>
        Math.Sqrt(a.Zip(b, (x, y) => ((double)x - y) * ((double)x - y)).Sum() / b.Sum(y => (double)y * y));

    private static ComparedComponent Values(ComputeDevice device, string name, Timed<float[]> values, Timed<float[]> first) =>
        new(device, name, values.Seconds, values.Seconds / first.Seconds, RelativeL2(values.Values, first.Values), null, null);
}

/// <summary>What was computed, and how long it took.</summary>
internal readonly record struct Timed<T>(T Values, double Seconds);

/// <summary>Outputs of a pipeline's parts.</summary>
/// <param name="Text">Encoded prompts: without and with the prompt, or the latter alone.</param>
/// <param name="Noise">What the UNet is given, channels last.</param>
/// <param name="UNet">Its output in the first step, channels last.</param>
/// <param name="Decoder">Of <paramref name="Noise"/>, channels last.</param>
/// <param name="Picture">Rows of R, G, B.</param>
internal sealed record ComponentResults(
    Timed<float[]> Text, float[] Noise, Timed<float[]> UNet, Timed<float[]> Decoder, Timed<byte[]> Picture);
