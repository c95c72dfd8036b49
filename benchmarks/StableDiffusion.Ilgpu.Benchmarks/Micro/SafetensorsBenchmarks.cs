using BenchmarkDotNet.Attributes;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Benchmarks.Micro;

/// <summary>Reading a safetensors file that the system's cache holds: 64 tensors of a million fp16 values.</summary>
public class SafetensorsBenchmarks
{
    private const int Count = 1 << 20;

    private readonly TensorInfo[] tensors =
        [.. Enumerable.Range(0, 64).Select(i => new TensorInfo($"block.{i}.weight", TensorType.F16, [1024, 1024]))];
    private readonly ushort[] halves = new ushort[Count];
    private readonly float[] singles = new float[Count];
    private string path = "";
    private SafetensorsFile? file;

    /// <summary>Writes the file.</summary>
    [GlobalSetup]
    public void Write()
    {
        path = Path.GetTempFileName();
        SafetensorsWriter.Write(path, tensors, (_, bytes) => bytes.Fill(0x3C));
        file = SafetensorsFile.Open(path);
    }

    /// <summary>Deletes it.</summary>
    [GlobalCleanup]
    public void Delete()
    {
        file?.Dispose();
        File.Delete(path);
    }

    /// <summary>Opens the file: reads and checks its header.</summary>
    [Benchmark]
    public void Open() => SafetensorsFile.Open(path).Dispose();

    /// <summary>Reads one tensor as it is stored.</summary>
    [Benchmark]
    public void ReadHalves() => file!.Read(tensors[7].Name, halves);

    /// <summary>Reads one tensor as fp32.</summary>
    [Benchmark]
    public void ReadSingles() => file!.Read(tensors[7].Name, singles);
}
