using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>Where and of what numbers were taken; none is printed without.</summary>
/// <param name="Device">The accelerator.</param>
/// <param name="Processor">Its name, for the peak is the processor's.</param>
/// <param name="Cores">Logical processors that this process may use.</param>
/// <param name="SimdBits">Width of the vectors that leaves and peak use.</param>
/// <param name="Runtime">.NET and the operating system.</param>
/// <param name="Commit">Of the sources.</param>
/// <param name="LoadAverage">Processes that wanted to run in the minute before; null where the system does not say.</param>
internal sealed record Circumstances(
    string Device, string Processor, int Cores, int SimdBits, string Runtime, string Commit, string? LoadAverage)
{
    private const string LoadFile = "/proc/loadavg";

    /// <exception cref="StableDiffusionException">Something is not known.</exception>
    public static Circumstances Collect(ComputeDevice device) => new(
        Required(device.ToString(), "device"),
        Required(ComputeDevice.Processor.Name, "processor"),
        Environment.ProcessorCount,
        ProcessorVectors.Bits,
        $"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}",
        Required(Repository.Commit(), "commit"),
        File.Exists(LoadFile) ? File.ReadAllText(LoadFile).Split(' ')[0] : null);

    public IEnumerable<string> Lines()
    {
        yield return $"device: {Device}";
        yield return $"processor: {Processor}, {Cores} cores, {SimdBits}-bit vectors";
        yield return $"runtime: {Runtime}";
        yield return $"commit: {Commit}";
        if (LoadAverage is not null)
        {
            yield return $"load average before: {LoadAverage} (a busy machine makes every number worse)";
        }
    }

    /// <summary>A report that says what was measured, with these facts behind it; the figures follow.</summary>
    public JsonObject AddTo(JsonObject report)
    {
        report["device"] = Device;
        report["processor"] = Processor;
        report["cores"] = Cores;
        report["simd_bits"] = SimdBits;
        report["runtime"] = Runtime;
        report["commit"] = Commit;
        report["load_average"] = LoadAverage;
        return report;
    }

    private static string Required(string value, string what) =>
        value.Trim() is { Length: > 0 } text ? text
            : throw new StableDiffusionException($"no number without its {what}, which is not known");
}
