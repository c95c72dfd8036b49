using System.Buffers.Binary;
using System.IO.Pipes;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Which format a file of tensors has is told from its bytes.</summary>
public sealed class WeightFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    [Fact]
    public void A_header_length_that_looks_like_a_pickle_is_one_of_safetensors()
    {
        var lengths = new HashSet<byte>();
        for (var letters = 1; letters <= 640; letters += 8)
        {
            var path = new TensorFiles().Add(new string('n', letters), [1], [3]).Write(folder["a.pt"]);
            lengths.Add(File.ReadAllBytes(path)[0]);
            using var file = WeightFile.Open(path);
            Assert.IsType<SafetensorsFile>(file);
        }

        Assert.Contains((byte)0x80, lengths);
    }

    [Fact]
    public void PyTorch_files_are_told_from_their_start()
    {
        using (var file = WeightFile.Open(new TensorFiles().Add("a", [1], [3]).WriteTorch(folder["a.safetensors"])))
        {
            Assert.IsType<TorchFile>(file);
        }

        // What torch.save wrote before it wrote archives begins with a pickled number.
        File.WriteAllBytes(folder["old.pt"], [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, (byte)'.']);
        WeightsTestFiles.Refused(() => WeightFile.Open(folder["old.pt"]), folder["old.pt"]);
        var length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, 0x0280);
        foreach (var bytes in new byte[][] { [], [0x80], length, [.. length, (byte)'x'] })
        {
            File.WriteAllBytes(folder["short.pt"], bytes);
            WeightsTestFiles.Refused(() => WeightFile.Open(folder["short.pt"]), folder["short.pt"]);
        }
    }

    /// <summary>What downloads leave in a file's place.</summary>
    [Theory]
    [InlineData("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "pointer of Git LFS")]
    [InlineData("<!DOCTYPE html><html>", "web page")]
    [InlineData("{\"error\":\"not found\"}", "JSON")]
    [InlineData("GGUF\u0003\0\0\0", "GGUF")]
    [InlineData("<\0\0\0\0\0\0\0{}", "header length is 60", "truncated")]
    public void What_is_no_file_of_tensors_is_called_by_its_kind(string text, params string[] parts)
    {
        var path = folder["model.safetensors"];
        File.WriteAllText(path, text);
        WeightsTestFiles.Refused(() => WeightFile.Open(path), [path, .. parts]);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a\0b")]
    public void What_is_no_name_of_a_file_is_told(string path) => WeightsTestFiles.Refused(() => WeightFile.Open(path), "cannot be read");

    [Fact]
    public void A_folder_is_told() => WeightsTestFiles.Refused(() => WeightFile.Open(folder.Path), folder.Path, "it is a folder");

    [Fact]
    public void A_pipe_is_told()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "pipes have names like this on Linux");
        using var writer = new AnonymousPipeServerStream(PipeDirection.Out);
        using var reader = new AnonymousPipeClientStream(PipeDirection.In, writer.GetClientHandleAsString());
        var pipe = $"/dev/fd/{reader.SafePipeHandle.DangerousGetHandle()}";
        WeightsTestFiles.Refused(() => WeightFile.Open(pipe), pipe, "pipe");
    }

    public void Dispose() => folder.Dispose();
}
