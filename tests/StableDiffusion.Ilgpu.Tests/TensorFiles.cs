using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Tensors that a test makes up, by name, and files of them.</summary>
internal sealed class TensorFiles
{
    private readonly List<(TensorInfo Info, byte[] Bytes)> tensors = [];

    public TensorFiles Add(string name, Array values)
    {
        long[] shape = [.. Enumerable.Range(0, values.Rank).Select(i => (long)values.GetLength(i))];
        return Add(name, shape, [.. values.Cast<double>().Select(v => (float)v)]);
    }

    public TensorFiles Add(string name, long[] shape, float[] values) =>
        Add(name, TensorType.F32, shape, MemoryMarshal.AsBytes<float>(values).ToArray());

    public TensorFiles Add(string name, TensorType type, long[] shape, byte[] bytes)
    {
        tensors.Add((new TensorInfo(name, type, shape), bytes));
        return this;
    }

    /// <summary>One number.</summary>
    public TensorFiles Add(string name, double value) => Add(name, [], [(float)value]);

    /// <summary>Writes a safetensors file.</summary>
    public string Write(string path, IReadOnlyDictionary<string, string>? metadata = null)
    {
        var stored = tensors.ToDictionary(t => t.Info.Name, t => t.Bytes);
        SafetensorsWriter.Write(path, [.. tensors.Select(t => t.Info)], (t, bytes) => stored[t.Name].CopyTo(bytes), metadata);
        return path;
    }

    /// <summary>Writes a file like those of torch.save.</summary>
    public string WriteTorch(string path)
    {
        var written = new Dictionary<string, object?>();
        foreach (var (info, bytes) in tensors)
        {
            written.Add(info.Name, SampleTensor.Plain($"{written.Count}", info.Type, bytes, info.Shape));
        }

        File.WriteAllBytes(path, TorchFileWriter.Write(written));
        return path;
    }
}
