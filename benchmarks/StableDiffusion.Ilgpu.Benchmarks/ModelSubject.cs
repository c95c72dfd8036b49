using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>What <c>model</c> measures.</summary>
/// <param name="Model">For example <c>sd15</c>.</param>
/// <param name="Size">Width and height of the pictures in pixels.</param>
/// <param name="Device">Where it runs.</param>
/// <param name="Pictures">Pictures drawn at a time.</param>
/// <param name="PictureSteps">Steps of the whole pictures.</param>
/// <param name="Offload">Whether the models take turns on the device where whole pictures are drawn.</param>
internal sealed record ModelSubject(string Model, int Size, ComputeDevice Device, int Pictures, int PictureSteps, bool Offload)
{
    /// <summary>Batch items of a UNet step, with guidance.</summary>
    public int UNetItems => BenchmarkInputs.Items * Pictures;

    /// <summary>Known operations; null where nobody counted them.</summary>
    public KnownWork? Expected => KnownWork.Of(Model, Size, Pictures);

    public override string ToString() =>
        $"{Model}, {Size}x{Size}, {Pictures} {(Pictures == 1 ? "picture" : "pictures")}, {PictureSteps} {(PictureSteps == 1 ? "step" : "steps")} "
        + $"with guidance (UNet batch {UNetItems})";
}
