using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Tensors that a test makes up, by name, and files of them.</summary>
internal sealed class TensorFiles
{
    private readonly List<(TensorInfo Info, float[] Values)> tensors = [];

    public TensorFiles Add(string name, Array values)
    {
        long[] shape = [.. Enumerable.Range(0, values.Rank).Select(i => (long)values.GetLength(i))];
        return Add(name, shape, [.. values.Cast<double>().Select(v => (float)v)]);
    }

    public TensorFiles Add(string name, long[] shape, float[] values)
    {
        tensors.Add((new TensorInfo(name, TensorType.F32, shape), values));
        return this;
    }

    /// <summary>One number.</summary>
    public TensorFiles Add(string name, double value) => Add(name, [], [(float)value]);

    /// <summary>Writes a safetensors file in fp32.</summary>
    public string Write(string path, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var values = tensors.ToDictionary(t => t.Info.Name, t => t.Values);
        SafetensorsWriter.Write(
            path, [.. tensors.Select(t => t.Info)], (t, bytes) => MemoryMarshal.AsBytes(values[t.Name].AsSpan()).CopyTo(bytes), metadata);
        return path;
    }

    /// <summary>Writes a file like those of torch.save.</summary>
    public string WriteTorch(string path)
    {
        var written = new Dictionary<string, object?>();
        foreach (var (info, values) in tensors)
        {
            written.Add(info.Name, SampleTensor.Floats($"{written.Count}", values, info.Shape));
        }

        File.WriteAllBytes(path, TorchFileWriter.Write(written));
        return path;
    }
}
