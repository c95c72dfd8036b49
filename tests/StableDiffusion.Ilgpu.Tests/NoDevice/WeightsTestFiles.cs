using System.Buffers.Binary;
using System.Text;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>A folder that goes away with the test, and hand-made safetensors files in it.</summary>
internal sealed class WeightsTestFiles : IDisposable
{
    public string Folder { get; } = Directory.CreateTempSubdirectory("sdilgpu-weights-").FullName;

    public string PathOf(params string[] parts) => Path.Combine([Folder, .. parts]);

    public string Write(string name, byte[] bytes)
    {
        var path = PathOf(name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    public string Write(string name, string text) => Write(name, Encoding.UTF8.GetBytes(text));

    public string WriteSafetensors(string name, string header, params byte[] data) => Write(name, Safetensors(header, data));

    public static byte[] Safetensors(string header, byte[] data) => Safetensors(Encoding.UTF8.GetBytes(header), data);

    public static byte[] Safetensors(byte[] header, byte[] data)
    {
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        return [.. length, .. header, .. data];
    }

    /// <summary>Requires the one-line error whose text has all the parts, in any order.</summary>
    public static void Refused(Action action, params string[] parts)
    {
        var e = Assert.Throws<StableDiffusionException>(action);
        Assert.All(parts, part => Assert.Contains(part, e.Message, StringComparison.Ordinal));
        Assert.DoesNotContain('\n', e.Message);
        TestContext.Current.TestOutputHelper?.WriteLine(e.Message);
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
