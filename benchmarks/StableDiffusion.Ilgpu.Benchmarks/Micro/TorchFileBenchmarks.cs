using BenchmarkDotNet.Attributes;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Benchmarks.Micro;

/// <summary>Reading a file of <c>torch.save</c> that the system's cache holds: as many tensors as a UNet has, two of them of a million fp16 values.</summary>
public class TorchFileBenchmarks
{
    private const int Side = 1024, Small = 684;

    private readonly ushort[] halves = new ushort[Side * Side];
    private string path = "";
    private TorchFile? file;

    /// <summary>Writes the file.</summary>
    [GlobalSetup]
    public void Write()
    {
        path = Path.GetTempFileName();
        var tensors = Enumerable.Range(0, Small).ToDictionary(
            i => $"block.{i}.weight", object? (i) => SampleTensor.Plain($"{i}", TensorType.F16, new byte[2 * 64 * 64], 64, 64));
        tensors["plain"] = SampleTensor.Plain("plain", TensorType.F16, new byte[2 * Side * Side], Side, Side);
        tensors["transposed"] = new SampleTensor("transposed", TensorType.F16, new byte[2 * Side * Side], 0, [Side, Side], [1, Side]);
        File.WriteAllBytes(path, TorchFileWriter.Write(tensors));
        file = TorchFile.Open(path);
    }

    /// <summary>Deletes it.</summary>
    [GlobalCleanup]
    public void Delete()
    {
        file?.Dispose();
        File.Delete(path);
    }

    /// <summary>Opens the file: reads the archive's directory and the pickle, and checks both.</summary>
    [Benchmark]
    public void Open() => TorchFile.Open(path).Dispose();

    /// <summary>Reads one tensor as it is stored.</summary>
    [Benchmark]
    public void ReadHalves() => file!.Read("plain", halves);

    /// <summary>Reads one tensor whose columns are stored one after the other.</summary>
    [Benchmark]
    public void ReadTransposed() => file!.Read("transposed", halves);
}
